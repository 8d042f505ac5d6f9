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
  if (v !== 0 && Math.abs(v) < 0.001) return v.toExponential(2);
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 4 }).format(v);
};
const bytes = (v) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (Math.abs(v) >= 1024 && i < units.length - 1) { v /= 1024; i += 1; }
  return `${number(v)} ${units[i]}`;
};
const percent = (v) => `${number(100 * v)} %`;
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
  if (!state.config.ok) notes.push(`The configuration on disk was not taken; the one before stays in use.\n${state.config.problem || ""}`);
  if (state.mode === "observe") notes.push("Action rules only observe: they record and show what they would do, and change nothing. Set actions.mode: enforce to let them act.");
  $("banner").hidden = notes.length === 0;
  $("banner").textContent = notes.join("\n\n");
}

async function change(method, name, body) {
  const answer = await fetch(`/api/v1/switches/${encodeURIComponent(name)}/pin${method === "DELETE" ? "?by=page" : ""}`, {
    method, headers: { "content-type": "application/json", "x-brownout-request": "1" }, body: body && JSON.stringify(body),
  });
  if (!answer.ok) alert((await answer.json()).error);
  refresh();
}

function pinDialog(item, level) {
  const reason = prompt(`Pin ${item.name} to ${level} for 1 hour. Why?`);
  if (reason) change("POST", item.name, { level, for: "1h", reason, by: "page" });
}

function conditionRow(condition, now) {
  const held = condition.since ? ` for ${ago(now, condition.since)}` : "";
  const kind = condition.truth === "true" ? "bad" : condition.truth === "false" ? "good" : "warn";
  return el("tr", {}, el("td", {}, condition.part), el("td", {}, el("code", {}, condition.expression)),
    el("td", { class: "number" }, condition.value === null || condition.value === undefined ? "–" : number(condition.value)),
    el("td", {}, el("span", { class: `tag ${kind}` }, `${condition.truth}${held}`)));
}

function switchCard(item, now) {
  const rungs = item.ladder.map((level, depth) =>
    el("div", { class: `rung${depth === item.depth ? (depth ? " now deep" : " now") : ""}`, title: `click to pin to ${level}`, onclick: () => pinDialog(item, level) }, level));
  const rules = item.rules.map((rule) => {
    const next = rule.next_climb ? `; next rung up in ${span(Date.parse(rule.next_climb) / 1000 - now)} if it stays quiet` : "";
    return el("details", {},
      el("summary", { class: "soft" }, `rule ${rule.title} (${rule.mode}) asks for ${rule.level}${next}`),
      el("table", {}, ...rule.conditions.map((condition) => conditionRow(condition, now))));
  });
  return el("div", { class: `item ${item.depth ? "bad" : "good"}` },
    el("div", { class: "row" }, el("span", { class: "name" }, item.name), el("span", { class: "soft" }, item.description),
      el("span", { class: "soft end" }, `for ${ago(now, item.since)}`)),
    el("div", { class: "ladder" }, ...rungs),
    item.why ? el("div", { class: "soft" }, item.why) : null,
    item.pin ? el("div", { class: "row" },
      el("span", { class: "tag warn" }, `pinned by ${item.pin.by} for another ${span(Date.parse(item.pin.until) / 1000 - now)}: ${item.pin.reason}`),
      el("button", { onclick: () => change("DELETE", item.name) }, "unpin")) : null,
    ...rules);
}

function switches(state) {
  const scales = state.scales.map((scale) => el("div", { class: "item" },
    el("div", { class: "row" }, el("span", { class: "name" }, `scale ${scale.target}`), el("span", { class: "tag" }, scale.mode),
      el("span", { class: "soft end" }, `asked for ${scale.desired === null ? "nothing yet" : scale.desired} (${scale.min} to ${scale.max})`)),
    scale.in_flight ? el("div", { class: "soft" }, `a call for ${scale.in_flight} is on its way`) : null,
    scale.failures ? el("div", { class: "tag warn" }, `${scale.failures} calls failed in a row`) : null));
  const cards = state.switches.map((item) => switchCard(item, state.now));
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
      el("div", {}, alert.annotations.summary || alert.annotations.description || ""),
      el("div", { class: "row" }, el("span", { class: "soft" }, Object.entries(labels).map(([k, v]) => `${k}=${v}`).join(" ")), el("span", { class: "soft" }, `value ${number(alert.value)}`), link));
  }) : [el("div", { class: "soft" }, "No alert is pending or firing.")]));
}

function decisions(state) {
  put("decisions", ...(state.decisions.length ? state.decisions.map((d) => {
    const who = d.by.kind === "rule" ? d.by.rule : d.by.kind === "person" ? d.by.name : "brownout";
    return el("li", {},
      el("div", { class: "row" }, el("span", { class: "name" }, `${d.switch}: ${d.from} → ${d.to}`),
        d.mode === "observe" ? el("span", { class: "tag warn" }, "would have") : null,
        el("time", { class: "soft end", datetime: d.at, title: d.at }, `${ago(state.now, d.at)} ago`)),
      el("div", { class: "soft" }, `${who}: ${d.reason}`));
  }) : [el("li", { class: "soft" }, "Nothing has been decided yet.")]));
}

function rules(state) {
  put("rules", ...state.groups.map((group) => {
    const bad = group.rules.filter((rule) => rule.health === "err").length;
    const firing = group.rules.filter((rule) => rule.state === "firing").length;
    const tag = bad ? el("span", { class: "tag bad" }, `${bad} failing`) : firing ? el("span", { class: "tag bad" }, `${firing} firing`) : el("span", { class: "tag good" }, "ok");
    const rows = group.rules.map((rule) => el("tr", {},
      el("td", {}, rule.name), el("td", {}, el("code", {}, rule.query || "")),
      el("td", {}, el("span", { class: `tag ${rule.health === "err" ? "bad" : rule.state === "firing" ? "bad" : rule.state === "pending" ? "warn" : ""}` }, rule.health === "err" ? "error" : rule.state || rule.health),
        rule.lastError ? el("div", { class: "soft" }, rule.lastError) : null)));
    const details = el("details", { "data-key": `${group.file};${group.name}` }, el("summary", { class: "row" }, el("span", { class: "name" }, group.name), el("span", { class: "soft" }, `${group.rules.length} rules every ${group.interval}s, ${group.file}`), tag), el("table", {}, ...rows));
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
  { title: "Log lines", query: "sum(rate(brownout_log_lines_read_total[10s]))", show: (v) => `${number(v)}/s` },
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
  const times = await ask(`/api/v1/query?${new URLSearchParams({ query: "probe_duration_seconds" })}`);
  const time = new Map(times.data.result.map((r) => [`${r.metric.job}/${r.metric.instance}`, Number(r.value[1])]));
  const probed = new Map(probes.data.result.map((r) => [`${r.metric.job}/${r.metric.instance}`, r.value[1] === "1"]));
  const rows = ups.data.result.map((r) => {
    const key = `${r.metric.job}/${r.metric.instance}`;
    const isProbe = probed.has(key);
    const good = r.value[1] === "1" && (!isProbe || probed.get(key));
    return { job: r.metric.job, instance: r.metric.instance, good, time: time.get(key), isProbe };
  }).sort((a, b) => a.good - b.good || a.job.localeCompare(b.job) || a.instance.localeCompare(b.instance));
  put("sources", el("table", {}, el("tr", {}, el("th", {}, "job"), el("th", {}, "instance"), el("th", {}, ""), el("th", {}, "")),
    ...rows.map((r) => el("tr", {}, el("td", {}, r.job), el("td", {}, r.instance), el("td", { class: "number" }, r.time === undefined ? "" : `${number(1000 * r.time)} ms`),
      el("td", {}, el("span", { class: `tag ${r.good ? "good" : "bad"}` }, r.good ? "up" : "down"))))));
}

const open = () => new Set([...document.querySelectorAll("details[open]")].map((d) => d.querySelector("summary").textContent.split("(")[0]));
function reopen(keys) {
  for (const d of document.querySelectorAll("details")) if (keys.has(d.querySelector("summary").textContent.split("(")[0])) d.open = true;
}

let round = 0;
async function refresh() {
  try {
    const state = await ask("/api/v1/status/overview");
    const keys = open();
    verdict(state); header(state); switches(state); alertsList(state); decisions(state); rules(state); losses(state);
    reopen(keys);
    if (round % 3 === 0) { await charts(state.now); await sources(state); }
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
