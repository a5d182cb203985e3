-- The calendar does not follow the data: a day without orders is a day too.
with days as (
    select cast(unnest(generate_series(date '2026-01-01', date '2030-12-31', interval 1 day)) as date) as date_day
)

select
    date_day,
    year(date_day) as year,
    quarter(date_day) as quarter,
    month(date_day) as month,
    monthname(date_day) as month_name,
    week(date_day) as week,
    isodow(date_day) as day_of_week,
    dayname(date_day) as day_name,
    isodow(date_day) >= 6 as is_weekend
from days
