"use strict";
const $ = (id) => document.getElementById(id);
const element = (name, text, kind) => {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const count = (n) => n >= 1e9 ? (n / 1e9).toFixed(1) + " G" : n >= 1e6 ? (n / 1e6).toFixed(1) + " M" : n >= 1e4 ? (n / 1e3).toFixed(1) + " k" : String(Math.round(n * 10) / 10);
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < 4) { n /= 1024; at++; }
  return (at && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[at];
};
const micros = (n) => n >= 1e6 ? (n / 1e6).toFixed(1) + " s" : n >= 1e3 ? (n / 1e3).toFixed(1) + " ms" : Math.round(n) + " µs";
const seconds = (n) => n >= 86400 ? (n / 86400).toFixed(1) + " d" : n >= 3600 ? (n / 3600).toFixed(1) + " h" : n >= 60 ? (n / 60).toFixed(1) + " min" : Math.round(n) + " s";

async function ask(path) {
  const response = await fetch("api/v1/" + path);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}
// Bytes come as a text, or as base64 where they are none.
const shown = (value) => value === null ? "nil" : typeof value === "object" && value.base64 !== undefined ? "base64:" + value.base64 : String(value);
const inPath = (key) => typeof key === "string" ? encodeURIComponent(key)
  : Array.from(atob(key.base64), (c) => "%" + c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
const fill = (list, pairs) => list.replaceChildren(...pairs.map(([name, value]) => [element("dt", name), element("dd", value)]).flat());

const charts = {
  commands: new Chart($("chart-commands"), ["commands"], count),
  latency: new Chart($("chart-latency"), ["p50", "p99"], micros),
  network: new Chart($("chart-network"), ["in", "out"], bytes, true),
  commits: new Chart($("chart-commits"), ["commits"], count),
};
let before = null;

// The bound of the class that has this share of what was counted since the last look.
function percentile(classes, share) {
  const all = classes.reduce((a, b) => a + b, 0);
  if (!all) return null;
  let seen = 0;
  for (let i = 0; i < classes.length; i++) {
    seen += classes[i];
    if (seen >= all * share) return 2 ** i;
  }
  return null;
}

function overview(stats) {
  const { counters, info } = stats, at = performance.now(), node = info.weald_replica_entries !== undefined;
  let rate = 0;
  if (before) {
    const passed = (at - before.at) / 1000, was = before.stats;
    // Counters that begin anew give no rate below zero.
    const per = (name) => Math.max(0, (counters[name] - was.counters[name]) / passed);
    const classes = stats.latency_us.map((n, i) => Math.max(0, n - was.latency_us[i]));
    rate = per("commands");
    charts.commands.add([rate]);
    charts.latency.add([percentile(classes, 0.5), percentile(classes, 0.99)]);
    charts.network.add([per("received_bytes"), per("sent_bytes")]);
    // A node keeps nothing but its replica.
    charts.commits.add([node ? Math.max(0, (info.weald_replica_changes - was.info.weald_replica_changes) / passed) || 0 : per("commits")]);
  }
  before = { at, stats };
  let keys = 0;
  for (const name in info) if (/^db\d+$/.test(name)) keys += Number(/keys=(\d+)/.exec(info[name])[1]);
  const looked = counters.keyspace_hits + counters.keyspace_misses;
  if ($("to-cluster").hidden !== !info.weald_cluster_node) {
    $("to-cluster").hidden = !info.weald_cluster_node;
    reveal();
  }
  $("about").textContent = `${info.weald_version} on port ${info.tcp_port}, ${node ? "node " + info.weald_cluster_node : "durability " + info.weald_durability}`;
  const tiles = [["Commands/s", count(rate)], node ? ["Entries here", count(+info.weald_replica_entries)] : ["Keys", count(keys)], ["Clients", info.connected_clients],
    ["Data", bytes(+info.weald_file_bytes)], ["Memory", bytes(+info.used_memory_rss)],
    ["Hits", looked ? (100 * counters.keyspace_hits / looked).toFixed(1) + " %" : "–"]];
  $("tiles").replaceChildren(...tiles.map(([name, value]) => {
    const tile = element("div");
    tile.append(element("dt", name), element("dd", value));
    return tile;
  }));
  fill($("storage"), [["File", bytes(+info.weald_file_bytes)], ["Free in it", bytes(+info.weald_free_bytes)],
    ["Pages in memory", bytes(+info.weald_pool_bytes)], ["Filters", bytes(+info.weald_filter_bytes)], ["Path", info.weald_data]]);
  fill($("log"), [["Log to replay", bytes(+(info.weald_log_bytes || 0))], ["Waits for a checkpoint", bytes(+info.weald_dirty_bytes)],
    ["Checkpoints", info.weald_checkpoints], ["Flushes of the log", info.weald_log_flushes || "0"],
    ["Commits", count(counters.commits)], ["Failed commits", String(counters.failed_commits)]]);
  fill($("server"), [["Up", seconds(+info.uptime_in_seconds)], ["Commands", count(counters.commands)], ["Errors", count(counters.errors)],
    ["Expired keys", count(counters.expired_keys)], ["Blocked clients", info.blocked_clients], ["Refused connections", count(counters.rejected_connections)]]);
  const budget = +(info.weald_hot_tier_budget_bytes || 0);
  $("storage-panel").hidden = $("log-panel").hidden = node;
  $("replica-panel").hidden = !node;
  $("hot-panel").hidden = !node || !budget;
  $("stored").textContent = node ? "Changes of the replica" : "Commits";
  charts.commits.names = [node ? "changes" : "commits"];
  if (!node) return;
  const hits = +info.weald_hot_tier_hits, reads = +info.weald_replica_reads;
  fill($("replica"), [["Entries", count(+info.weald_replica_entries)], ["Size", bytes(+info.weald_replica_bytes)], ["Reads", count(reads)],
    ["Changes", count(+info.weald_replica_changes)]]);
  fill($("hot"), [["Hits", count(hits)], ["Misses", count(reads)], ["Share of hits", hits + reads ? (100 * hits / (hits + reads)).toFixed(1) + " %" : "–"],
    ["Budget for entries", bytes(budget)], ["Memory, all told", bytes(+info.weald_hot_tier_bytes)]]);
}

async function clients() {
  const answer = await ask("clients");
  $("client-rows").replaceChildren(...answer.clients.map((client) => {
    const row = element("tr");
    row.append(element("td", client.addr, "mono whole"), element("td", client.name), element("td", client.user), element("td", client.cmd, "mono"),
      element("td", seconds(+client.age), "number"), element("td", seconds(+client.idle), "number"), element("td", bytes(+client["tot-mem"]), "number"));
    return row;
  }));
}

async function slowlog() {
  const answer = await ask("slowlog?count=100");
  const rows = answer.commands.map((entry) => {
    const row = element("tr");
    row.append(element("td", new Date(entry.unix_seconds * 1000).toLocaleString(), "whole"), element("td", micros(entry.microseconds), "number"),
      element("td", entry.arguments.map(shown).join(" "), "mono"), element("td", shown(entry.client), "mono whole"));
    return row;
  });
  if (!rows.length) {
    const cell = element("td", "No command was slow.", "quiet");
    cell.colSpan = 4;
    rows.push(element("tr"));
    rows[0].append(cell);
  }
  $("slow-rows").replaceChildren(...rows);
}

async function cluster() {
  const { result } = await ask("cluster"), { counts, quorums, repair } = result;
  const owned = result.members.reduce((sum, node) => sum + node.partitions, 0);
  $("node-rows").replaceChildren(...result.members.map((node) => {
    const row = element("tr"), share = element("td"), bar = element("progress");
    bar.max = owned || 1;
    bar.value = node.partitions;
    bar.setAttribute("aria-label", "share of the ring");
    share.append(bar);
    row.append(element("td", node.node, "mono whole"), element("td", node.address, "mono whole"), element("td", node.state), element("td", node.member), share,
      ...["partitions", "primary", "zone", "weight"].map((name) => element("td", String(node[name]), "number")));
    return row;
  }));
  fill($("layout"), [["This node", result.node], ["Serves", result.serving ? "yes" : "no"], ["Version", String(result.layout)], ["Phase", result.phase],
    ["Still to fetch", String(result.to_fetch)],
    ...(quorums ? [["Replicas", String(quorums.replica_count)], ["Writes wait for", String(quorums.write_quorum)], ["Reads wait for", String(quorums.read_quorum)]] : [])]);
  fill($("repair"), [["Differences found", count(counts.differences)], ["Entries brought here", count(counts.repaired)], ["Repaired by readers", count(counts.read_repairs)],
    ["Hints waiting", count(counts.hints)], ["Moved here", count(counts.transferred)],
    ["Asked for", repair.running ? `${count(repair.keys)} keys so far` : repair.rounds ? repair.error || `done, ${count(repair.keys)} keys` : "no"]]);
  fill($("traffic"), [["Requests", count(counts.requests)], ["Failed", count(counts.failures)], ["Under way", count(counts.in_flight)], ["Ballots", count(counts.ballots)],
    ["Sent", bytes(counts.sent_bytes)], ["Received", bytes(counts.received_bytes)], ["Not sent", count(counts.unsent)], ["Strangers", count(counts.strangers)]]);
}

let cursor = "0", listed = 0, search = 0;
async function list(anew) {
  const form = new FormData($("search")), mine = anew ? ++search : search;
  if (anew) { cursor = "0"; listed = 0; $("key-rows").replaceChildren(); }
  const db = form.get("db") || "0";
  try {
    // A pattern that little matches gives empty pages: some are looked at before asking.
    for (let page = 0, found = 0; page < 20 && found < 50; page++) {
      const query = new URLSearchParams({ cursor, pattern: form.get("pattern"), type: form.get("type"), db, count: 100 });
      const answer = await ask("keys?" + query);
      if (mine !== search) return;
      for (const key of answer.keys) {
        const row = element("tr"), cell = element("td"), open = element("button", shown(key.key), "link mono");
        open.addEventListener("click", () => show(key.key, db));
        cell.append(open);
        const kind = element("td");
        kind.append(element("span", key.type, "tag"));
        row.append(cell, kind, element("td", key.ttl_ms === null ? "–" : seconds(key.ttl_ms / 1000), "number"));
        $("key-rows").append(row);
      }
      found += answer.keys.length;
      listed += answer.keys.length;
      cursor = answer.cursor;
      if (cursor === "0") break;
    }
    $("key-note").textContent = listed + (cursor === "0" ? " keys" : " keys so far");
    $("more").hidden = cursor === "0";
  } catch (e) { $("key-note").textContent = e.message; }
}

async function show(key, db) {
  const panel = $("value");
  try {
    const answer = await ask(`keys/${inPath(key)}?db=${db}&count=200`);
    const facts = element("dl");
    fill(facts, [["Type", answer.type], ["Encoding", shown(answer.encoding)], ["Length", count(answer.length)],
      ["Expires in", answer.ttl_ms === null ? "never" : seconds(answer.ttl_ms / 1000)]]);
    panel.replaceChildren(element("h2", shown(key), "mono"), facts);
    if (Array.isArray(answer.value)) {
      const table = element("table");
      for (const item of answer.value) {
        const row = element("tr");
        for (const part of Array.isArray(item) ? item : [item]) row.append(element("td", shown(part), "mono"));
        table.append(row);
      }
      panel.append(table);
      if (answer.value.length < answer.length) panel.append(element("p", `The first ${answer.value.length} of ${answer.length}.`, "quiet"));
    } else panel.append(element("pre", shown(answer.value)));
  } catch (e) { panel.replaceChildren(element("p", e.message)); }
  // On a phone it lies below the list.
  panel.scrollIntoView({ block: "nearest" });
}

const views = ["overview", "keys", "clients", "slowlog", "cluster"];
const view = () => views.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview";
// On a phone not all links fit: the one that is chosen is to be seen.
function reveal() {
  const link = document.querySelector("nav a[aria-current]"), nav = link.parentElement;
  nav.scrollLeft = link.offsetLeft + link.offsetWidth + 16 - nav.clientWidth;
}
function turn() {
  for (const name of views) $("view-" + name).hidden = name !== view();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash !== "#" + view()) { link.removeAttribute("aria-current"); continue; }
    link.setAttribute("aria-current", "page");
  }
  reveal();
  if (view() === "keys" && !search) list(true);
  for (const name in charts) charts[name].draw();
}
async function look() {
  try {
    overview(await ask("stats"));
    if (view() === "clients") await clients();
    if (view() === "slowlog") await slowlog();
    if (view() === "cluster") await cluster();
    $("state").textContent = "live";
    $("state").className = "";
  } catch (e) {
    $("state").textContent = e.message;
    $("state").className = "bad";
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}
$("search").addEventListener("submit", (event) => { event.preventDefault(); list(true); });
$("more").addEventListener("click", () => list(false));
addEventListener("hashchange", () => { turn(); $("main").focus({ preventScroll: true }); });
addEventListener("resize", () => { reveal(); for (const name in charts) charts[name].draw(); });
turn();
look();
