// What gr.HTML runs once for each view: cells and links by mouse and keyboard, and the address after each change.
const heat = () => element.querySelector("table.heat");
const open = (td) => {
  const table = heat();
  const row = td.parentElement;
  const backbones = JSON.parse(table.dataset.backbones);
  const optimizers = JSON.parse(table.dataset.optimizers);
  const params = new URLSearchParams(element.querySelector("section.bocb").dataset.query);
  params.set("backbone", backbones[td.cellIndex - 1]);
  params.set("optimizer", optimizers[row.sectionRowIndex]);
  params.set("cell", "1");
  trigger("click", { query: params.toString() });
};
element.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="?"]');
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (link && plain) { // another view of this page; the browser's way back leads to this one
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href"));
    window.scrollTo(0, 0);
    trigger("click", { query: link.search.slice(1) });
    return;
  }
  const td = event.target.closest("table.heat td");
  if (td) open(td);
});
element.addEventListener("keydown", (event) => {
  const td = event.target.closest("table.heat td");
  if (!td) return;
  const rows = td.closest("tbody").rows;
  let r = td.parentElement.sectionRowIndex;
  let c = td.cellIndex;
  const last = td.parentElement.cells.length - 1;
  if (event.key === "ArrowRight") c = Math.min(c + 1, last);
  else if (event.key === "ArrowLeft") c = Math.max(c - 1, 1);
  else if (event.key === "ArrowDown") r = Math.min(r + 1, rows.length - 1);
  else if (event.key === "ArrowUp") r = Math.max(r - 1, 0);
  else if (event.key === "Home") c = 1;
  else if (event.key === "End") c = last;
  else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(td); return; }
  else return;
  event.preventDefault();
  td.tabIndex = -1;
  rows[r].cells[c].tabIndex = 0;
  rows[r].cells[c].focus();
});
const settle = () => {
  const view = element.querySelector("section.bocb");
  if (!view) return;
  const table = heat();
  if (table && table.tBodies[0].rows.length) {
    for (const td of table.querySelectorAll("td")) td.tabIndex = -1;
    table.tBodies[0].rows[0].cells[1].tabIndex = 0;
  }
  if (view.offsetParent === null) return; // another tab's
  const query = view.dataset.query;
  const address = location.pathname + (query ? "?" + query : "") + location.hash;
  if (address !== location.pathname + location.search + location.hash) history.replaceState(null, "", address);
  // a Space is shown in a frame; this is how its page learns the address
  if (window.parent !== window) window.parent.postMessage({ queryString: query, hash: "" }, "https://huggingface.co");
  const cell = view.querySelector("#cell");
  const params = new URLSearchParams(query);
  if (cell && params.get("cell") === "1") {
    const key = JSON.stringify([params.get("backbone"), params.get("optimizer")]);
    if (element.dataset.opened !== key) { cell.focus({ preventScroll: true }); cell.scrollIntoView({ block: "nearest" }); }
    element.dataset.opened = key;
  } else {
    delete element.dataset.opened;
  }
};
if (window.innerWidth < 640 && !window.bocbFolded) { // on a phone the table comes first
  window.bocbFolded = true;
  document.querySelector("#filters > button.label-wrap.open")?.click();
}
if (!window.bocbBack) {
  window.bocbBack = true;
  window.addEventListener("popstate", () => location.reload());
}
watch("value", settle);
settle();
