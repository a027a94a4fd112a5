// Draws the figures that stand in a page as a table beside them.
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4]];
const shapes = [
  (p, x, y, r) => p.arc(x, y, r, 0, 2 * Math.PI),
  (p, x, y, r) => p.rect(x - r, y - r, 2 * r, 2 * r),
  (p, x, y, r) => { p.moveTo(x, y - r); p.lineTo(x + r, y + r); p.lineTo(x - r, y + r); p.closePath(); },
  (p, x, y, r) => { p.moveTo(x, y - r); p.lineTo(x + r, y); p.lineTo(x, y + r); p.lineTo(x - r, y); p.closePath(); },
  (p, x, y, r) => { p.moveTo(x - r, y - r); p.lineTo(x + r, y + r); p.moveTo(x + r, y - r); p.lineTo(x - r, y + r); },
];

// Each series has a dash and a mark of its own: the chart reads without colours.
function marks(which) {
  return (u, series, first, last) => {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = css(`--series-${which + 1}`);
    ctx.setLineDash([]);
    ctx.lineWidth = devicePixelRatio;
    const every = Math.max(1, Math.ceil((last - first) / 24));
    for (let i = first; i <= last; i += every) {
      const value = u.data[series][i];
      if (value == null) continue;
      ctx.beginPath();
      shapes[which](ctx, u.valToPos(u.data[0][i], 'x', true), u.valToPos(value, 'y', true), 3 * devicePixelRatio);
      ctx.fill();
      ctx.stroke();
    }
    ctx.restore();
    return false;
  };
}

// The days and hours below a chart are written as everywhere on the pages, the day where it begins.
const written = (options) => new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', ...options });
const hour = written({ hour: '2-digit', minute: '2-digit' });
const day = written({ day: 'numeric', month: 'short' });
function times(u, seconds, axis, space, step) {
  let before = '';
  return seconds.map((s) => {
    const on = day.format(s * 1e3);
    const text = step >= 86400 ? on : hour.format(s * 1e3) + (on === before ? '' : `\n${on}`);
    before = on;
    return text;
  });
}

function draw(figure) {
  const plot = figure.querySelector('.plot');
  const { labels, data } = JSON.parse(plot.dataset.chart);
  plot.replaceChildren();
  const ink = css('--quiet');
  const line = css('--line');
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const chart = new uPlot({
    width: plot.clientWidth, height: 240, tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), 'UTC'),
    scales: { y: { range: (u, min, max) => [0, Math.max(4, max * 1.1)] } },
    axes: [{ ...axis, values: times }, { ...axis, size: 60 }],
    series: [{ value: '{D} {MMM} {YYYY}, {HH}:{mm} UTC' }, ...labels.map((label, i) => ({
      label, stroke: css(`--series-${i % 5 + 1}`), width: 2, dash: dashes[i % 5], points: { show: marks(i % 5) },
    }))],
  }, data, plot);
  return chart;
}

for (const figure of document.querySelectorAll('figure.chart')) {
  let chart = draw(figure);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { chart.destroy(); chart = draw(figure); });
  new ResizeObserver(() => {
    const width = figure.querySelector('.plot').clientWidth;
    if (width && width !== chart.width) chart.setSize({ width, height: 240 });
  }).observe(figure);
}
