"use strict";
// The shortlist: sorted by a click on a title, searched by words, a part of it shown at a time.
// Where it is wider than the page it scrolls in a box, else with the page.
(() => {
  const table = document.getElementById("top");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const byId = (id) => document.getElementById(id);
  const [search, order, down, length, found] =
    ["search", "order", "down", "length", "found"].map(byId);
  const rows = [...body.rows].map((row, place) => ({
    row, place, words: row.textContent.toLowerCase(),
  }));
  const collator = new Intl.Collator("en", { numeric: true });

  const box = table.parentElement;

  function fit() {
    const wide = table.offsetWidth > box.clientWidth + 1;
    box.classList.toggle("wide", wide);
    box.classList.toggle("fits", !wide);
  }

  const key = (entry, column) => entry.row.cells[column].dataset.key;

  function comparison(column, sign) {
    const keys = rows.map((entry) => key(entry, column)).filter((value) => value !== undefined);
    const numeric = keys.every((value) => value !== "" && !Number.isNaN(Number(value)));
    return (one, other) => {
      const [a, b] = [key(one, column), key(other, column)];
      if (a === undefined || b === undefined) {
        return (a === undefined) - (b === undefined) || one.place - other.place;
      }
      const difference = numeric ? Math.sign(Number(a) - Number(b)) : collator.compare(a, b);
      return sign * difference || one.place - other.place;
    };
  }

  function sort(column, descending) {
    heads.forEach((head, index) => {
      if (!head.hasAttribute("aria-sort")) return;
      const direction = descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", index === column ? direction : "none");
    });
    order.value = heads[column].classList[0];
    down.checked = descending;
    rows.sort(comparison(column, descending ? -1 : 1));
    body.append(...rows.map((entry) => entry.row));
    show();
  }

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matching = 0;
    let shown = 0;
    for (const entry of rows) {
      const matches = words.every((word) => entry.words.includes(word));
      matching += matches;
      entry.row.hidden = !(matches && shown < Number(length.value));
      shown += !entry.row.hidden;
    }
    found.textContent = words.length
      ? `${matching} of ${rows.length} rows match` + (shown < matching ? `, ${shown} shown` : "")
      : `${shown} of ${rows.length} rows`;
    fit();
  }

  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () =>
      sort(column, head.getAttribute("aria-sort") === "ascending"));
  });
  const chosen = () => heads.findIndex((head) => head.classList[0] === order.value);
  order.addEventListener("change", () => sort(chosen(), down.checked));
  down.addEventListener("change", () => sort(chosen(), down.checked));
  search.addEventListener("input", show);
  length.addEventListener("change", show);
  window.addEventListener("resize", fit);
  document.querySelector(".tools").hidden = false;
  show();
})();
