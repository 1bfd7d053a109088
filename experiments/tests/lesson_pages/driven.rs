//! A page in a browser, driven by a script.

use crate::browser::{shown, written};
use std::{fs, path::Path};

/// Before the page's own script: remembers everything that goes wrong.
const WATCH: &str = "<script>window.wrong=[];\
    addEventListener('error',e=>wrong.push(String(e.message)));\
    console.error=console.warn=(...all)=>wrong.push(all.join(' '));</script>";

/// Around the driving script. A module, so that it runs after those of the page. Brackets are set
/// apart, for two of a kind end what is read.
const BEFORE: &str = "<script type=module>const seen = {};\n";
const AFTER: &str = r#"
seen.fetched = performance.getEntriesByType('resource').length;
seen.wrong = wrong;
const out = document.createElement('pre');
out.textContent = '[[' + JSON.stringify(seen).replace(/[<>&]/g, '').replace(/[\[\]]/g, ' $& ') + ']]';
document.body.append(out);
</script>"#;

/// The values that a script puts into `seen` while it drives a page. Beside them stand `wrong`, all
/// errors and warnings, and `fetched`, the number of resources that were asked for.
pub fn driven(browser: &Path, root: &Path, page: &str, script: &str) -> serde_json::Value {
    let page = page
        .replacen("<head>", &format!("<head>{WATCH}"), 1)
        .replacen("</body>", &format!("{BEFORE}{script}{AFTER}</body>"), 1);
    let file = root.join("driven.html");
    fs::write(&file, page).expect("space");
    serde_json::from_str(&written(&shown(browser, root, &file))).expect("JSON")
}
