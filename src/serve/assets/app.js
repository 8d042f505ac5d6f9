"use strict";
// The page asks every two seconds and draws what it got. Text from the daemon only ever becomes text nodes.

const $ = (id) => document.getElementById(id);
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value; else if (key === "onclick") node.addEventListener("click", value); else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};
const put = (id, ...children) => $(id).replaceChildren(...children);
const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

const span = (seconds) => {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${s % 60 ? ` ${s % 60}s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
};
const number = (value) => {
  const v = Number(value);
  if (!Number.isFinite(v)) return String(value);
  if (v !== 0 && (Math.abs(v) < 0.001 || Math.abs(v) >= 1e9)) return v.toExponential(2);
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 4 }).format(v);
};
const short = (v) => new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(v);
const bytes = (v) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (Math.abs(v) >= 1024 && i < units.length - 1) { v /= 1024; i += 1; }
  return `${short(v)} ${units[i]}`;
};
const percent = (v) => `${short(100 * v)} %`;
const ago = (now, iso) => span(now - Date.parse(iso) / 1000);

async function ask(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function verdict(state) {
  const firing = state.alerts.filter((a) => a.state === "firing").length;
  const degraded = state.switches.filter((s) => s.depth > 0).length;
  const words = [];
  if (firing) words.push(`${firing} alert${firing > 1 ? "s" : ""} firing`);
  if (degraded) words.push(`${degraded} switch${degraded > 1 ? "es" : ""} degraded`);
  const kind = firing || degraded ? "bad" : state.config.ok && state.ready ? "good" : "warn";
  const text = words.length ? words.join(", ") : !state.config.ok ? "configuration is broken" : state.ready ? "all is well" : "starting";
  $("verdict").className = kind;
  $("verdict").textContent = text;
  document.title = `${kind === "good" ? "" : `(${text}) `}Brownout ${state.host}`;
}

function header(state) {
  $("host").textContent = state.host;
  const fact = (text) => el("span", {}, text);
  put("facts",
    fact(`version ${state.version}`), fact(`up ${span(state.now - state.started)}`), fact(`${number(state.series)} series`),
    fact(`actions: ${state.mode}`), fact(state.outbox.waiting ? `${state.outbox.waiting} notifications waiting` : "outbox empty"));
  const notes = [];
  if (!state.config.ok) notes.push(el("p", {}, "The configuration on disk was not taken; the one before stays in use."), el("pre", { tabindex: 0 }, state.config.problem || ""));
  if (state.mode === "observe") notes.push(el("p", {}, "Action rules only observe: they record and show what they would do, and change nothing. Set actions.mode: enforce to let them act."));
  $("banner").hidden = notes.length === 0;
  put("banner", ...notes);
}

// Says something to the daemon; gives what is wrong with it, or nothing.
async function say(method, path, body) {
  const answer = await fetch(path, { method, headers: { "content-type": "application/json", "x-brownout-request": "1" }, body: body && JSON.stringify(body) });
  const problem = answer.ok ? "" : (await answer.json().catch(() => ({ error: `the daemon answered ${answer.status}` }))).error;
  refresh();
  return problem;
}
const change = (method, name, body) => say(method, `/api/v1/switches/${encodeURIComponent(name)}/pin${method === "DELETE" ? "?by=page" : ""}`, body);

// What the dialog is about: a switch's name and a level.
let pinning = null;
function pinDialog(item, level) {
  pinning = { name: item.name, level };
  $("pin-title").textContent = `Pin ${item.name} to ${level}`;
  $("pin-problem").textContent = "";
  $("pin-reason").value = "";
  $("pin").showModal();
  $("pin-reason").focus();
}
async function pinNow() {
  const reason = $("pin-reason").value.trim();
  if (!reason) { $("pin-problem").textContent = "Say why: whoever finds the switch like this will want to know."; return; }
  const problem = await change("POST", pinning.name, { level: pinning.level, for: $("pin-for").value, reason, by: $("pin-by").value.trim() || "page" });
  if (problem) $("pin-problem").textContent = problem; else $("pin").close();
}
$("pin-do").addEventListener("click", pinNow);
$("pin-cancel").addEventListener("click", () => $("pin").close());
$("pin").addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target.tagName === "INPUT") pinNow(); });

function switches(state) {
  const scales = state.scales.map((scale) => el("div", { class: "item" },
    el("div", { class: "row" }, el("span", { class: "name" }, `scale ${scale.target}`), el("span", { class: "tag" }, scale.mode),
      el("span", { class: "soft end" }, `asked for ${scale.desired === null ? "nothing yet" : scale.desired} (${scale.min} to ${scale.max})`)),
    scale.in_flight ? el("div", { class: "soft" }, `a call for ${scale.in_flight} is on its way`) : null,
    scale.failures ? el("div", { class: "tag warn" }, `${scale.failures} calls failed in a row`) : null));
  const cards = state.switches.map((item) => switchCard(item, state));
  put("switches", ...(cards.length + scales.length ? [...cards, ...scales] : [el("div", { class: "soft" }, "No switch is declared. Declare one under switches: in brownout.yaml, and a degrade rule that moves it.")]));
}

function alertsList(state) {
  const order = { firing: 0, pending: 1 };
  const list = [...state.alerts].sort((a, b) => (order[a.state] - order[b.state]) || a.labels.alertname.localeCompare(b.labels.alertname));
  put("alerts", ...(list.length ? list.map((alert) => {
    const { alertname, severity, ...labels } = alert.labels;
    const runbook = alert.annotations.runbook_url || alert.annotations.runbook;
    const link = runbook && /^https?:\/\//.test(runbook) ? el("a", { href: runbook, rel: "noreferrer" }, "runbook") : runbook ? el("span", { class: "soft" }, runbook) : null;
    return el("div", { class: `item ${alert.state === "firing" ? "bad" : "warn"}` },
      el("div", { class: "row" }, el("span", { class: "name" }, alertname), severity ? el("span", { class: "tag" }, severity) : null,
        el("span", { class: `tag ${alert.state === "firing" ? "bad" : "warn"} end` }, `${alert.state} ${ago(state.now, alert.activeAt)}`)),
      el("div", { class: "clamp" }, alert.annotations.summary || alert.annotations.description || ""),
      el("div", { class: "labels" }, ...Object.entries(labels).map(([k, v]) => el("span", { class: "label", title: `${k}="${v}"` }, `${k} `, el("b", {}, v)))),
      el("div", { class: "row" }, el("span", { class: "soft" }, `value ${number(alert.value)}`), link));
  }) : [el("div", { class: "soft" }, "No alert is pending or firing.")]));
}

function decisions(state) {
  put("decisions", ...(state.decisions.length ? state.decisions.map((d) => {
    const who = d.by.kind === "rule" ? d.by.rule : d.by.kind === "person" ? d.by.name : "brownout";
    return el("li", {},
      el("div", { class: "row" }, el("span", { class: "name" }, `${d.switch}: ${d.from} → ${d.to}`),
        d.mode === "observe" ? el("span", { class: "tag warn" }, "would have") : null,
        el("time", { class: "soft end", datetime: d.at, title: d.at }, `${ago(state.now, d.at)} ago`)),
      el("div", { class: "soft clamp", title: d.reason }, `${who}: ${d.reason}`));
  }) : [el("li", { class: "soft" }, "Nothing has been decided yet.")]));
}

function rules(state) {
  put("rules", ...state.groups.map((group) => {
    const bad = group.rules.filter((rule) => rule.health === "err").length;
    const firing = group.rules.filter((rule) => rule.state === "firing").length;
    const tag = bad ? el("span", { class: "tag bad" }, `${bad} failing`) : firing ? el("span", { class: "tag bad" }, `${firing} firing`) : el("span", { class: "tag good" }, "ok");
    const rows = group.rules.map((rule) => {
      const unknown = rule.unknownAlerts > 0;
      const word = rule.health === "err" ? "error" : unknown ? "unknown" : rule.state || (rule.health === "unknown" ? "not evaluated yet" : rule.health);
      const kind = rule.health === "err" || rule.state === "firing" ? "bad" : unknown || rule.state === "pending" ? "warn" : "";
      return el("div", { class: "rule" },
        el("div", { class: "row" }, el("span", { class: "name" }, rule.name), el("span", { class: "soft" }, rule.type), el("span", { class: `tag end ${kind}` }, word)),
        el("code", {}, rule.query || ""),
        rule.lastError ? el("div", { class: "problem" }, rule.lastError) : null,
        ...(rule.findings || []).map((finding) => el("div", { class: "soft" }, finding.message)));
    });
    const details = el("details", {}, el("summary", { "data-key": `${group.file};${group.name}` }, el("div", { class: "row" },
      el("span", { class: "name" }, group.name), el("span", { class: "soft" }, `${group.rules.length} rules every ${group.interval}s, ${group.file}`), el("span", { class: "end" }, tag))), ...rows);
    return details;
  }));
}

function losses(state) {
  put("losses", ...(state.losses.length
    ? [el("table", {}, ...state.losses.map((l) => el("tr", {}, el("td", {}, el("code", {}, l.metric), el("div", { class: "soft" }, l.help)), el("td", { class: "number" }, number(l.total)))))]
    : [el("div", { class: "soft" }, "Nothing was dropped, cut or refused since the start.")]));
}

const CHARTS = [
  { title: "CPU busy", query: '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[10s]))', show: percent, top: 1 },
  { title: "Memory used", query: "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", show: percent, top: 1 },
  { title: "Load, 1 minute", query: "node_load1", show: number },
  { title: "CPU pressure", query: "rate(node_pressure_cpu_waiting_seconds_total[10s])", show: percent, top: 1 },
  { title: "Disk read + write", query: "sum(rate(node_disk_read_bytes_total[10s])) + sum(rate(node_disk_written_bytes_total[10s]))", show: (v) => `${bytes(v)}/s` },
  { title: "Network in + out", query: 'sum(rate(node_network_receive_bytes_total{device!="lo"}[10s])) + sum(rate(node_network_transmit_bytes_total{device!="lo"}[10s]))', show: (v) => `${bytes(v)}/s` },
  { title: "Fullest filesystem", query: "max(1 - node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0))", show: percent, top: 1 },
  { title: "Log lines", query: "sum(rate(brownout_log_lines_read_total[10s]))", show: (v) => `${short(v)}/s` },
];

function chartCard(chart, points) {
  const values = points.map((p) => Number(p[1])).filter(Number.isFinite);
  const card = el("div", { class: "chart" }, el("div", { class: "soft" }, chart.title), el("div", { class: "value" }, values.length ? chart.show(values[values.length - 1]) : "no data"));
  if (values.length > 1) {
    const top = Math.max(chart.top || 0, ...values) || 1;
    const x = (i) => (100 * i) / (values.length - 1);
    const y = (v) => 38 - (34 * Math.max(0, v)) / top;
    const line = values.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(2)},${y(v).toFixed(2)}`).join("");
    const picture = svg("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(svg("path", { class: "fill", d: `${line}L100,40L0,40Z` }), svg("path", { class: "line", d: line }));
    card.append(picture);
  }
  return card;
}

async function charts(now) {
  const answers = await Promise.all(CHARTS.map(async (chart) => {
    const query = new URLSearchParams({ query: chart.query, start: now - 300, end: now, step: 5 });
    try {
      const answer = await ask(`/api/v1/query_range?${query}`);
      return chartCard(chart, answer.data.result[0] ? answer.data.result[0].values : []);
    } catch { return chartCard(chart, []); }
  }));
  put("charts", ...answers);
}

async function sources(state) {
  const ups = await ask(`/api/v1/query?${new URLSearchParams({ query: "up" })}`);
  const probes = await ask(`/api/v1/query?${new URLSearchParams({ query: "probe_success" })}`);
  const lines = await ask(`/api/v1/query?${new URLSearchParams({ query: "sum by (log) (rate(brownout_log_lines_read_total[10s]))" })}`);
  const times = await ask(`/api/v1/query?${new URLSearchParams({ query: "probe_duration_seconds" })}`);
  const time = new Map(times.data.result.map((r) => [`${r.metric.job}/${r.metric.instance}`, Number(r.value[1])]));
  const probed = new Map(probes.data.result.map((r) => [`${r.metric.job}/${r.metric.instance}`, r.value[1] === "1"]));
  const rows = ups.data.result.map((r) => {
    const key = `${r.metric.job}/${r.metric.instance}`;
    const isProbe = probed.has(key);
    const good = r.value[1] === "1" && (!isProbe || probed.get(key));
    return { job: r.metric.job, instance: r.metric.instance, good, time: time.get(key), isProbe };
  });
  for (const r of lines.data.result) rows.push({ job: r.metric.log, instance: "log files", good: true, rate: Number(r.value[1]) });
  rows.sort((a, b) => a.good - b.good || a.job.localeCompare(b.job) || a.instance.localeCompare(b.instance));
  put("sources", el("table", {}, el("tr", {}, el("th", {}, "job"), el("th", {}, "instance"), el("th", {}, ""), el("th", {}, "")),
    ...rows.map((r) => el("tr", {}, el("td", { class: "word", title: r.job }, r.job), el("td", {}, el("div", { class: "clamp", title: r.instance }, r.instance)), el("td", { class: "number" }, r.rate !== undefined ? `${short(r.rate)} lines/s` : r.time === undefined ? "" : `${short(1000 * r.time)} ms`),
      el("td", { class: "tight" }, el("span", { class: `tag ${r.good ? "good" : "bad"}` }, r.rate !== undefined ? "read" : r.good ? "up" : "down"))))));
}

// What is open or has the focus stays so over a refresh: both are known by a key.
const keyed = () => [...document.querySelectorAll("[data-key]")];
function keep(draw) {
  const open = new Set(keyed().filter((node) => node.parentElement.open).map((node) => node.dataset.key));
  const focus = document.activeElement && document.activeElement.dataset.key;
  draw();
  for (const node of keyed()) {
    if (node.tagName === "SUMMARY") node.parentElement.open = open.has(node.dataset.key);
    if (focus && node.dataset.key === focus) node.focus({ preventScroll: true });
  }
}

let round = 0, latest = null;
watchScrolling(() => latest);
listenToWords();
async function refresh() {
  try {
    const state = latest = await ask("/api/v1/status/overview");
    keep(() => { verdict(state); header(state); switches(state); alertsList(state); decisions(state); fleet(state); rules(state); losses(state); });
    if (round % 3 === 0) {
      await readSwitches(state);
      keep(() => switches(state));
      await charts(state.now);
      await sources(state);
    }
    round += 1;
  } catch (error) {
    $("verdict").className = "bad";
    $("verdict").textContent = "the daemon does not answer";
    console.error(error);
  }
}

refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 2000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { round = 0; refresh(); } });
