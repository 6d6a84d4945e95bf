"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const narrow = () => window.innerWidth < 600;
const touch = matchMedia("(pointer: coarse)").matches;

// A figure in the colours of the page.
function themed(key, figureName) {
  const { data, layout } = structuredClone(figures[key]);
  const [ink, quiet, rule, panel] = ["--ink", "--quiet", "--rule", "--panel"].map(style);
  Object.assign(layout, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 13, family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { bgcolor: panel, bordercolor: quiet, align: "left", font: { color: ink } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: quiet, activecolor: ink },
    // A finger that scrolls the page must not zoom the chart.
    dragmode: touch ? false : "zoom",
  });
  for (const axis of ["xaxis", "yaxis"]) {
    if (layout[axis]) Object.assign(layout[axis], { gridcolor: rule, linecolor: quiet, automargin: true });
  }
  for (const trace of data) {
    if (trace.type === "treemap") {
      trace.marker.line.color = panel;
      if (figureName in trace.meta.values) trace.values = trace.meta.values[figureName];
    }
    if (trace.type === "heatmap" && narrow()) trace.showscale = false;
    if (trace.type === "parcoords") trace.rangefont = { color: "rgba(0,0,0,0)" };
  }
  if (layout.legend && narrow()) layout.margin.b = 150;  // the legend takes a line for each entry
  if (layout.xaxis && data[0].type === "scatter") ring(data, ink);
  return { data, layout };
}

// A circle around the chosen point.
function ring(data, ink) {
  for (const trace of data.slice()) {
    const place = trace.mode === "markers" ? trace.customdata.indexOf(chosen) : -1;
    if (place < 0) continue;
    data.push({
      type: "scatter", mode: "markers", x: [trace.x[place]], y: [trace.y[place]], hoverinfo: "skip", showlegend: false,
      marker: { size: 22, symbol: "circle-open", color: ink, line: { width: 2 } },
    });
  }
}

function draw(chart) {
  const select = document.querySelector(`select[data-chart="${chart.id}"]`);
  const of = document.querySelector(`select[data-figure-of="${chart.id}"]`);
  const { data, layout } = themed(select ? select.value : chart.dataset.figure, of ? of.value : null);
  const buttons = ["toImage", ...(data[0].type === "scatter" ? ["zoom2d", "pan2d", "resetScale2d"] : [])];
  const config = { responsive: true, displaylogo: false, displayModeBar: !touch, modeBarButtons: [buttons] };
  Plotly.react(chart, data, layout, config);
  if (!chart.dataset.wired) {
    chart.dataset.wired = "yes";
    chart.on("plotly_click", (event) => {
      const index = event.points[0].customdata;
      if (typeof index === "number") choose(index);
    });
  }
}

// The chosen point: its card, its row, its ring, and its areas where there are any.
let chosen = null;
function choose(index) {
  const template = document.querySelector(`template[data-point="${index}"]`);
  if (!template) return;
  chosen = index;
  document.getElementById("chosen").replaceChildren(template.content.cloneNode(true));
  all("tr[data-point]").forEach((row) => row.classList.toggle("chosen", row.dataset.point === String(index)));
  all(".choice").forEach((button) => button.classList.toggle("chosen", button.dataset.point === String(index)));
  const areas = document.querySelector('select[data-chart="areas"]');
  const option = areas && all("option", areas).find((one) => one.dataset.point === String(index));
  if (option) areas.value = option.value;
  all("#front, #areas").forEach(draw);
}

function sort(head) {
  const table = head.closest("table"), body = table.tBodies[0], place = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  all("th", table).forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = (row) => {
    const cell = row.cells[place];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
  };
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    // What has no value comes last in either order.
    if (x === "-" || y === "-") return (x === "-") - (y === "-");
    const way = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(y, "en", { numeric: true });
    return up ? way : -way;
  };
  body.append(...[...body.rows].sort(order));
}

all("select[data-chart], select[data-figure-of]").forEach((select) => select.addEventListener("change", () => {
  const option = select.selectedOptions[0];
  if (option.dataset.point !== undefined) choose(Number(option.dataset.point));
  draw(document.getElementById(select.dataset.chart || select.dataset.figureOf));
}));
all("th button").forEach((button) => button.addEventListener("click", () => sort(button.parentElement)));
all("[data-point]:is(tr, button)").forEach((one) => one.addEventListener("click", () => choose(Number(one.dataset.point))));
all("input[data-all]").forEach((box) => box.addEventListener("change", () =>
  document.querySelector("#points table").classList.toggle("all", box.checked)));
all("select[data-filter]").forEach((select) => select.addEventListener("change", () =>
  all("#points tbody tr").forEach((row) => {
    const front = row.dataset.status === "front", ok = front || row.dataset.status === "ok";
    row.hidden = !({ all: true, front, ok, rest: !ok }[select.value]);
  })));
const redraw = () => all(".chart").forEach(draw);
document.getElementById("scheme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.scheme ? root.dataset.scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.scheme = dark ? "light" : "dark";
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
const first = document.getElementById("chosen");
if (first) choose(Number(first.dataset.point));
