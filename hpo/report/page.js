"use strict";
// Draws every figure in the element of its name, in the page's colours, and again when these change, and in print's.
const figures = JSON.parse(document.getElementById("figures").textContent);

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: of("--line"), zerolinecolor: of("--line"), linecolor: of("--line") };
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: of("--ink") },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
    hoverlabel: { bgcolor: of("--card"), bordercolor: of("--line"), font: { color: of("--ink") } },
  };
}

function draw() {
  for (const [name, figure] of Object.entries(figures)) {
    Plotly.react(name, figure.data, themed(figure.layout), { responsive: true, displayModeBar: false });
  }
}

draw();
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", draw);
