//! The dashboard in a real browser. Skipped, saying so, where Chromium and its driver are not installed; `WEALD_NEED_BROWSER=1` makes that a failure.

use serde_json::json;

use crate::client::Served;
use crate::webdriver::{Browser, ENTER};

const VIEWS: [&str; 4] = ["overview", "keys", "clients", "slowlog"];

fn browser() -> Option<Browser> {
    let browser = Browser::start();
    if browser.is_none() {
        assert!(
            std::env::var_os("WEALD_NEED_BROWSER").is_none(),
            "WEALD_NEED_BROWSER is set and there is no chromedriver"
        );
        eprintln!(
            "SKIPPED: the dashboard is not tested, as there is no chromedriver (packages chromium and chromium-driver)"
        );
    }
    browser
}

fn served() -> (Served, String) {
    let served = Served::with(&[
        ("http", "yes"),
        ("http-port", "0"),
        ("slowlog-log-slower-than", "0"),
    ]);
    let mut client = served.client();
    for command in [
        "SET colour green",
        "SET soon gone EX 90",
        "HSET user:1 name Ada born 1815",
        "RPUSH queue a b c",
        "ZADD scores 1 low 2 high",
        "GET colour",
        "GET nothing",
    ] {
        client.run(command);
    }
    let url = format!("http://{}/", served.http.expect("HTTP is served"));
    (served, url)
}

/// Goes to a view and waits until it has what it shows.
fn turn_to(browser: &Browser, view: &str) {
    browser.run(&format!("location.hash = '{view}'"));
    browser.wait_until(&match view {
        "overview" => "document.querySelector('#chart-commands path')".to_owned(),
        "keys" => "document.querySelectorAll('#key-rows tr').length === 5".to_owned(),
        "clients" => "document.querySelectorAll('#client-rows tr').length >= 1".to_owned(),
        _ => "document.querySelectorAll('#slow-rows tr').length >= 5".to_owned(),
    });
}

#[test]
fn it_shows_what_the_server_does() {
    let Some(browser) = browser() else { return };
    let (_served, url) = served();
    browser.open(&url);
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    browser.wait_until("document.querySelectorAll('.chart path').length >= 3");
    let tiles = browser.run("return document.getElementById('tiles').innerText");
    let tiles: Vec<&str> = tiles
        .as_str()
        .expect("a text")
        .split('\n')
        .filter(|line| !line.is_empty())
        .collect();
    let tile = |name: &str| tiles[tiles.iter().position(|tile| *tile == name).expect(name) + 1];
    assert_eq!(tile("Keys"), "5");
    assert_eq!(tile("Clients"), "1");
    browser.screenshot("overview");
    turn_to(&browser, "keys");
    let rows = browser.run(
        "return [...document.querySelectorAll('#key-rows tr')].map(row => row.cells[0].innerText + ' ' + row.cells[1].innerText).sort()",
    );
    assert_eq!(
        rows,
        json!([
            "colour string",
            "queue list",
            "scores zset",
            "soon string",
            "user:1 hash"
        ])
    );
    let expiry = browser.run(
        "return [...document.querySelectorAll('#key-rows tr')].find(row => row.cells[0].innerText === 'soon').cells[2].innerText",
    );
    let expiry = expiry.as_str().expect("a text");
    assert!(expiry.contains("min") || expiry.ends_with(" s"), "{expiry}");
    turn_to(&browser, "clients");
    turn_to(&browser, "slowlog");
    browser.screenshot("slowlog");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
    let elsewhere = browser.run(
        "return performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith(location.origin))",
    );
    assert_eq!(elsewhere, json!([]), "everything comes from the server");
}

#[test]
fn a_node_shows_its_ring_its_repair_and_its_hot_tier() {
    let Some(browser) = browser() else { return };
    let hidden = "document.getElementById('hot-panel').hidden";
    let (_alone, url) = served();
    browser.open(&url);
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    assert_eq!(browser.run(&format!("return {hidden}")), json!(true));

    let node = Served::node(&[("http", "yes"), ("http-port", "0"), ("cluster-hot-bytes", "2mb")]);
    let mut client = node.client();
    for _ in 0..20 {
        client.check("GET first", "1");
    }
    browser.open(&format!("http://{}/", node.http.expect("HTTP is served")));
    browser.wait_until(&format!("!{hidden}"));
    let row = |name: &str| {
        format!(
            "[...document.querySelectorAll('#hot dt')].find(name => name.innerText === '{name}').nextSibling.innerText"
        )
    };
    browser.wait_until(&format!("Number({}) >= 20", row("Hits")));
    assert_eq!(
        browser.run(&format!("return {}", row("Budget for entries"))),
        json!("2.0 MiB")
    );
    let shown = browser.run(
        "return [...document.querySelectorAll('#view-overview .panel')].filter(panel => !panel.hidden).map(panel => panel.querySelector('h2').innerText)",
    );
    assert_eq!(
        shown,
        json!(["Server", "Replica", "Hot tier"]),
        "of a node that is all"
    );
    browser.screenshot("node");
    browser.run("location.hash = 'cluster'");
    browser.wait_until("document.querySelectorAll('#node-rows tr').length === 1");
    browser.wait_until("document.getElementById('repair').innerText.includes('Differences found')");
    browser.screenshot("cluster");
    let phone = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
    browser.debug("Emulation.setDeviceMetricsOverride", &phone);
    let width = browser.run("return document.documentElement.scrollWidth");
    assert!(
        width.as_u64().expect("a number") <= 360,
        "{width} wide on a phone"
    );
    // The link to where one is can be seen.
    let place = "document.getElementById('to-cluster').getBoundingClientRect()";
    browser.wait_until(&format!("{place}.left >= 0 && {place}.right <= innerWidth"));
    browser.screenshot("phone-cluster");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn a_keyboard_is_enough() {
    let Some(browser) = browser() else { return };
    let (_served, url) = served();
    browser.open(&url);
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    browser.tab_to("node.hash === '#keys'");
    browser.press(ENTER);
    browser.wait_until("document.querySelectorAll('#key-rows tr').length === 5");
    browser.tab_to("node.innerText === 'user:1'");
    let outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert_ne!(outline, "none", "what has the focus shows it");
    browser.press(ENTER);
    browser.wait_until("document.getElementById('value').innerText.includes('Ada')");
    browser.screenshot("keys");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

/// The contrast of two colours by the formula of the Web Content Accessibility Guidelines.
const CONTRAST: &str = "
    const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(n => { n /= 255; return n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4; });
    const light = (colour) => { const [r, g, b] = channels(colour); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
    const panel = getComputedStyle(document.querySelector('.panel')).backgroundColor;
    const worst = ['.panel dd', '.panel dt', '#about', '#state', 'nav a'].map(place => contrast(getComputedStyle(document.querySelector(place)).color, panel));
    return Math.min(...worst);
";

#[test]
fn it_reads_well_in_the_light_in_the_dark_and_on_a_phone() {
    let Some(browser) = browser() else { return };
    let (_served, url) = served();
    browser.open(&url);
    browser.wait_until("document.querySelector('#chart-commands path')");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.debug("Emulation.setEmulatedMedia", &feature);
        let contrast = browser.run(CONTRAST).as_f64().expect("a number");
        assert!(contrast >= 4.5, "{scheme}: a contrast of {contrast}");
        grounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        browser.screenshot(scheme);
    }
    assert_ne!(grounds[0], grounds[1]);
    let phone = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
    browser.debug("Emulation.setDeviceMetricsOverride", &phone);
    for view in VIEWS {
        turn_to(&browser, view);
        let width = browser.run("return document.documentElement.scrollWidth");
        assert!(
            width.as_u64().expect("a number") <= 360,
            "{view} is {width} wide on a phone"
        );
        browser.screenshot(&format!("phone-{view}"));
    }
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}
