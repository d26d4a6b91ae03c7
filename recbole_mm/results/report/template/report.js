"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const root = document.documentElement;

const pictures = read("pictures");
for (const image of document.querySelectorAll("img[data-picture]")) image.src = pictures[image.dataset.picture];

/* Colours in figures are named like the properties of the style sheet. */
function painted(part, style) {
  if (typeof part === "string") return part.startsWith("--") ? style.getPropertyValue(part).trim() : part;
  if (Array.isArray(part)) return part.map((each) => painted(each, style));
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(Object.entries(part).map(([key, each]) => [key, painted(each, style)]));
}

function axis(own) {
  return { gridcolor: "--line", zerolinecolor: "--line", linecolor: "--line", tickfont: { color: "--muted", size: 12 }, fixedrange: true, automargin: true, ...own, title: { font: { color: "--muted", size: 12 }, standoff: 8, ...own?.title } };
}

function layout(own) {
  return {
    ...own, autosize: true, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    margin: { l: 12, r: 16, t: 22, b: 12, pad: 2 }, dragmode: false,
    font: { family: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif', size: 13, color: "--ink" },
    hoverlabel: { bgcolor: "--raised", bordercolor: "--line", font: { color: "--ink", size: 13 }, align: "left" },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { color: "--ink", size: 12 }, ...own.legend },
    xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
  };
}

const figures = read("figures");
const places = [...document.querySelectorAll("[data-figure]")];
function draw() {
  const style = getComputedStyle(root);
  return Promise.all(places.map((place) => {
    const figure = figures[place.dataset.figure];
    return Plotly.react(place, painted(figure.data, style), painted(layout(figure.layout), style), { displayModeBar: false, responsive: true });
  }));
}
const redraw = () => draw().then(() => { root.dataset.drawn = getComputedStyle(root).getPropertyValue("--ground").trim(); });
redraw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
matchMedia("print").addEventListener("change", redraw);
addEventListener("beforeprint", () => { root.dataset.paper = ""; redraw(); places.forEach((place) => Plotly.Plots.resize(place)); });
addEventListener("afterprint", () => { delete root.dataset.paper; redraw(); });
