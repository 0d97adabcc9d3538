// Filters and sorts the questions. The page reads the same without it.
(() => {
  "use strict";
  const form = document.getElementById("filters");
  const list = document.getElementById("questions");
  const shown = document.getElementById("shown");
  if (!form || !list || !shown) return;
  const all = Array.from(list.children);
  const texts = new Map();
  const textOf = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  let order = "";
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const item of all) {
      const data = item.dataset;
      const keep =
        (!wanted.split || data.split === wanted.split) &&
        (!wanted.kind || data.kind === wanted.kind) &&
        (!wanted.show || data.flags.split(" ").includes(wanted.show)) &&
        words.every((word) => textOf(item).includes(word));
      item.hidden = !keep;
      left += keep ? 1 : 0;
    }
    if (wanted.sort !== order) {
      order = wanted.sort;
      const sign = order === "hard" ? 1 : order === "easy" ? -1 : 0;
      const sorted = all.slice().sort((a, b) => sign * (a.dataset.easy - b.dataset.easy) || a.dataset.index - b.dataset.index);
      list.append(...sorted);
    }
    shown.textContent = left === all.length ? `${left} questions` : `${left} of ${all.length} questions`;
  };
  let timer = 0;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, 120);
  });
  apply();
})();
