"""The shop's tables, its clock, and the truth that tests compare with, as SQL. Rows do not belong here."""

from __future__ import annotations

CREATE = """
CREATE TABLE customers (
    customer_id bigint PRIMARY KEY,
    name text NOT NULL, email text NOT NULL, phone text NOT NULL,
    address text NOT NULL, city text NOT NULL, country text NOT NULL,
    tier text NOT NULL CHECK (tier IN ('basic', 'plus', 'premium')),
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE products (
    product_id bigint PRIMARY KEY,
    name text NOT NULL, category text NOT NULL, price numeric(10,2) NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE orders (
    order_id bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    order_date date NOT NULL,
    status text NOT NULL CHECK (status IN ('placed', 'paid', 'shipped', 'delivered', 'cancelled')),
    currency text NOT NULL CHECK (currency IN ('EUR', 'USD', 'GBP', 'SEK')),
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE order_items (
    order_item_id bigint PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders,
    product_id bigint NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(10,2) NOT NULL,
    discount numeric(4,2) NOT NULL CHECK (discount BETWEEN 0 AND 0.5),
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE INDEX ON customers (updated_at);
CREATE INDEX ON products (updated_at);
CREATE INDEX ON orders (updated_at);
CREATE INDEX ON order_items (updated_at);
CREATE INDEX ON order_items (order_id);

CREATE SCHEMA simulation;
CREATE TABLE simulation.clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    day date NOT NULL, seed bigint NOT NULL,
    customers integer NOT NULL, products integer NOT NULL, orders integer NOT NULL
);
COMMENT ON TABLE simulation.clock IS 'The current simulated day, and what the shop was made from.';
CREATE FUNCTION shop_now() RETURNS timestamptz LANGUAGE sql STABLE
    RETURN (SELECT (day + time '23:59:59') AT TIME ZONE 'UTC' FROM simulation.clock);

CREATE SCHEMA truth;
CREATE TABLE truth.customer_versions (
    customer_id bigint, valid_from timestamptz, name text, email text, phone text, address text, city text,
    country text, tier text, PRIMARY KEY (customer_id, valid_from)
);
CREATE TABLE truth.product_versions (
    product_id bigint, valid_from timestamptz, name text, category text, price numeric(10,2),
    PRIMARY KEY (product_id, valid_from)
);
CREATE TABLE truth.payments_sent (
    payment_id text NOT NULL, order_id bigint NOT NULL, amount numeric(18,2), currency text NOT NULL,
    method text NOT NULL, paid_at timestamptz NOT NULL, file text NOT NULL, defect text
);
CREATE INDEX ON truth.payments_sent (file);
CREATE TABLE truth.rates (date date, currency text, rate_to_eur numeric(12,6), PRIMARY KEY (date, currency));
"""

FIRST_VERSIONS = """
INSERT INTO truth.customer_versions
SELECT customer_id, created_at, name, email, phone, address, city, country, tier FROM customers;
INSERT INTO truth.product_versions SELECT product_id, created_at, name, category, price FROM products;
"""

NEW_VERSIONS = """
INSERT INTO truth.customer_versions
SELECT customer_id, created_at, name, email, phone, address, city, country, tier
FROM customers WHERE customer_id > %s
"""

REPRICE = """
WITH changed AS (
    UPDATE products p SET price = c.price, updated_at = c.changed_at
    FROM (
        SELECT product_id, changed_at, greatest(0.50, round(price * factor, 2)) AS price
        FROM price_changes JOIN products USING (product_id)
    ) c
    WHERE p.product_id = c.product_id AND p.price <> c.price
    RETURNING p.product_id, p.updated_at, p.name, p.category, p.price
)
INSERT INTO truth.product_versions SELECT * FROM changed
"""

CHANGE_CUSTOMERS = """
WITH changed AS (
    UPDATE customers c SET
        email = coalesce(n.email, c.email), phone = coalesce(n.phone, c.phone),
        address = coalesce(n.address, c.address), city = coalesce(n.city, c.city),
        country = coalesce(n.country, c.country),
        tier = CASE WHEN NOT n.next_tier THEN c.tier WHEN c.tier = 'basic' THEN 'plus'
                    WHEN c.tier = 'plus' THEN 'premium' ELSE 'plus' END,
        updated_at = n.changed_at
    FROM customer_changes n WHERE c.customer_id = n.customer_id
    RETURNING c.customer_id, c.updated_at, c.name, c.email, c.phone, c.address, c.city, c.country, c.tier
)
INSERT INTO truth.customer_versions SELECT * FROM changed
"""

ADD_ITEMS = """
INSERT INTO order_items
SELECT order_item_id, order_id, product_id, quantity, price, discount, n.created_at, n.created_at
FROM new_items n JOIN products USING (product_id) ORDER BY order_item_id
"""

MOVE_ORDERS = """
UPDATE orders o SET status = n.status, updated_at = n.changed_at FROM order_changes n WHERE o.order_id = n.order_id
"""

AMOUNTS = """
SELECT order_id, sum(round(quantity * unit_price * (1 - discount), 2)) FROM order_items
WHERE order_id = ANY(%s) GROUP BY order_id
"""
