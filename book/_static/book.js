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
