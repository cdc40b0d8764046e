// A click on a column's head sorts the rows by what their cells carry in data-sort; empty ones stay last.
element.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (!button) return;
  const head = button.closest("th");
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") !== "descending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[head.cellIndex].dataset.sort;
  const compare = (one, other) => {
    if (key(one) === "" || key(other) === "") return (key(one) === "") - (key(other) === "");
    const numbers = [Number(key(one)), Number(key(other))];
    const order = numbers.some(Number.isNaN) ? key(one).localeCompare(key(other)) : numbers[0] - numbers[1];
    return down ? -order : order;
  };
  body.append(...[...body.rows].sort(compare));
});
