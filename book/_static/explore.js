// An exploration's controls choose among states that are drawn already: their strings are put in place of the first
// state's (lib/memorization/report/explorations.py writes both). Without this script the first state remains.
document.addEventListener("DOMContentLoaded", function () {
  "use strict";

  function setUp(card) {
    const form = card.querySelector("form.controls");
    const { words, states } = JSON.parse(card.querySelector("script[type='application/json']").textContent);
    const fields = Array.from(form.querySelectorAll("select, input"));

    function update() {
      const places = fields.map((field) => Number(field.value));
      const [panel, axis, sentence, strings] =
        states[places.reduce((sum, place, i) => sum * words[i].length + place, 0)];
      fields.forEach(function (field, i) {
        if (field.type === "range") {
          field.setAttribute("aria-valuetext", words[i][places[i]]);
          field.parentElement.querySelector("output").textContent = words[i][places[i]];
        }
      });
      for (const key of card.querySelectorAll("ul.key")) {
        key.hidden = "axis" in key.dataset ? key.dataset.axis !== axis : Number(key.dataset.panel) !== panel;
      }
      for (const group of card.querySelectorAll("g[data-panel], g[data-axis]")) {
        const here = "axis" in group.dataset ? group.dataset.axis === axis : Number(group.dataset.panel) === panel;
        group.setAttribute("display", here ? "inline" : "none");
      }
      card.querySelectorAll(`g[data-panel='${panel}'] [data-part]`).forEach(function (part, i) {
        part.setAttribute(part.dataset.part === "bars" ? "d" : "points", strings[i]);
      });
      card.querySelector(".explored").textContent = sentence;
    }

    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    update(); // a browser may remember where a control stood
  }

  for (const card of document.querySelectorAll(".exploration")) {
    if (card.querySelector("form.controls")) {
      setUp(card);
    }
  }
});
