// Tables that sort by a click on a heading and filter by a word. Without script, the page reads as well.
"use strict";
const FILTERED_FROM = 8; // rows

// A cell's text; of an id that leads to a command, the id alone.
const textOf = (cell) => (cell.querySelector("details.sc-id > summary") || cell).textContent.trim();

function sortable(table, body) {
  const rows = () => [...body.rows];
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => textOf(row.cells[place]);
      const number = (row) => parseFloat(text(row).replace(/[,%]/g, ""));
      const numeric = head.classList.contains("number");
      const order = (a, b) =>
        numeric
          ? (isNaN(number(a)) ? -Infinity : number(a)) - (isNaN(number(b)) ? -Infinity : number(b))
          : text(a).localeCompare(text(b), undefined, { numeric: true });
      body.append(...rows().sort((a, b) => (down ? order(b, a) : order(a, b))));
    });
  }
}

function filterable(table, body) {
  const field = document.createElement("input");
  field.type = "search";
  field.className = "filter";
  field.placeholder = "Filter rows";
  field.setAttribute("aria-label", "Filter the rows of " + (table.caption ? table.caption.textContent.trim() : "this table"));
  field.addEventListener("input", () => {
    const word = field.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = ![...row.cells].some((cell) => textOf(cell).toLowerCase().includes(word));
  });
  table.parentElement.before(field);
}

for (const table of document.querySelectorAll("main .scroll > table")) {
  const body = table.tBodies[0];
  if (!table.tHead || !body || body.rows.length < 2 || table.querySelector("[rowspan], [colspan]")) continue;
  if ([...body.rows].some((row) => row.cells.length !== table.tHead.rows[0].cells.length)) continue;
  sortable(table, body);
  if (body.rows.length >= FILTERED_FROM) filterable(table, body);
}
