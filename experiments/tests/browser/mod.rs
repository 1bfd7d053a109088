//! A page in a browser without a network, driven by a script.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Before the page's own script: remembers everything that goes wrong.
const WATCH: &str = "<script>window.wrong=[];\
    addEventListener('error',e=>wrong.push(String(e.message)));\
    console.error=console.warn=(...all)=>wrong.push(all.join(' '));</script>";

/// Around the script. A module, so that it runs after those of the page.
const BEFORE: &str = "<script type=module>const seen = {};\n";
const AFTER: &str = r#"
seen.fetched = performance.getEntriesByType('resource').length;
seen.wrong = wrong;
const out = document.createElement('pre');
out.textContent = '⟦' + JSON.stringify(seen).replace(/[<>&]/g, '') + '⟧';
document.body.append(out);
</script>"#;

/// Chromium, where the machine has it.
pub fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            let mut command = Command::new(name);
            command
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
}

/// What a page shows while a script drives it: the script puts values into `seen`. Beside them stand
/// `wrong`, all errors and warnings, and `fetched`, the number of resources that were asked for.
pub fn driven(browser: &str, root: &Path, page: &str, script: &str) -> serde_json::Value {
    let page = page
        .replacen("<head>", &format!("<head>{WATCH}"), 1)
        .replacen("</body>", &format!("{BEFORE}{script}{AFTER}</body>"), 1);
    let file = root.join("driven.html");
    fs::write(&file, page).expect("space");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
        ])
        .args([
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(format!(
            "--user-data-dir={}",
            root.join("profile").display()
        ))
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("file://{}", file.display()))
        .stderr(Stdio::null())
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8(output.stdout).expect("text");
    // The script itself comes before what it has written.
    let (_, after) = dom
        .rsplit_once('⟦')
        .expect("the page was driven to its end");
    let (json, _) = after.split_once('⟧').expect("the end of it");
    serde_json::from_str(json).expect("JSON")
}
