// A box that scrolls sideways must be reachable by keyboard; which boxes do depends on the width of the screen.
(function () {
  "use strict";
  const boxes = "mjx-container[display='true'], div.math, article table.table, div.highlight pre, div.output";

  function update() {
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
      } else {
        box.removeAttribute("tabindex");
      }
    }
  }

  window.addEventListener("load", function () {
    const formulas = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
    Promise.resolve(formulas).then(update);
    new ResizeObserver(update).observe(document.body);
  });
})();

// The scoreboard's fields choose among its rows: a row has one attribute a field, with the words that it answers to.
document.addEventListener("DOMContentLoaded", function () {
  "use strict";
  const form = document.querySelector("form.filters");
  if (!form) {
    return;
  }
  const fields = Array.from(form.elements).filter((field) => field.name);
  const rows = Array.from(form.parentElement.querySelectorAll("tr[data-claim]"));
  const ids = new Set(rows.map((row) => row.dataset.claim.toLowerCase()));
  const start = new Map(fields.map((field) => [field.name, field.value]));

  function fits(row, field) {
    const wanted = field.value.trim().toLowerCase();
    if (field.name === "words") {
      if (ids.has(wanted)) {
        return row.dataset.claim.toLowerCase() === wanted;
      }
      const text = `${row.textContent} ${row.dataset.words}`.toLowerCase();
      return wanted.split(/\s+/).every((word) => text.includes(word));
    }
    return !wanted || row.dataset[field.name].split(" ").includes(field.value);
  }

  function claims(among) {
    return new Set(among.map((row) => row.dataset.claim)).size;
  }

  function update() {
    for (const row of rows) {
      row.hidden = !fields.every((field) => fits(row, field));
    }
    const left = rows.filter((row) => !row.hidden);
    form.querySelector(".shown").textContent = 
      left.length ? `${claims(left)} of ${claims(rows)} claims shown` : "No claim matches: change a field, or Reset.";
    const chosen = fields.filter((field) => field.value !== start.get(field.name));
    const query = new URLSearchParams(chosen.map((field) => [field.name, field.value])).toString();
    history.replaceState(null, "", location.pathname + (query && "?" + query) + location.hash);
  }

  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = fields.find((one) => one.name === name);
    if (field && (field.name === "words" || Array.from(field.options).some((one) => one.value === value))) {
      field.value = value;
    }
  }
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update)); // after the fields are back
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
});
