// Two things that Great Expectations' sections leave to a script: folds, and showing only what failed.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-toggle=collapse]");
  if (!link) return;
  event.preventDefault();
  document.getElementById(link.getAttribute("href").slice(1)).classList.toggle("show");
});
document.getElementById("failed-only").addEventListener("change", (event) => {
  document.body.classList.toggle("failed-only", event.target.checked);
});
// A row is a rule; nested tables (samples of values) belong to the rule that they stand in.
for (const mark of document.querySelectorAll("main td .text-success")) {
  mark.closest("tr").classList.add("holds");
}
for (const section of document.querySelectorAll(".ge-section")) {
  const rules = [...section.querySelectorAll("td i.fas")].map((mark) => mark.closest("tr"));
  if (rules.length && rules.every((rule) => rule.classList.contains("holds"))) section.classList.add("holds");
}
// What could not be judged has a reason, but no traceback to unfold.
for (const link of document.querySelectorAll("[data-toggle=collapse]")) {
  if (!document.getElementById(link.getAttribute("href").slice(1)).textContent.trim()) link.hidden = true;
}
