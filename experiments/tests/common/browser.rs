//! Chromium without a window and without a network, for tests of pages.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Chromium, where the machine has it.
pub fn chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// The page as it stands once its scripts have run, and on standard error what was logged. `root` is
/// for the browser's own files.
pub fn shown(chromium: &Path, root: &Path, page: &Path) -> Output {
    let switches = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ];
    Command::new(chromium)
        .args(switches)
        .arg(format!(
            "--user-data-dir={}",
            root.join("profile").display()
        ))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts")
}

/// What a script has written into the shown page between `[[` and `]]`, last of all.
pub fn written(output: &Output) -> String {
    let dom = String::from_utf8_lossy(&output.stdout);
    let (_, after) = dom.rsplit_once("[[").expect("the script came to its end");
    let (written, _) = after.split_once("]]").expect("the end of it");
    written.to_owned()
}

/// The width that the page takes in a window of `window` pixels: more than these, and it scrolls
/// sideways.
pub fn width_in(chromium: &Path, root: &Path, page: &str, window: u32) -> u32 {
    // A window of its own is never as narrow as a phone.
    let inside = page.replace('&', "&amp;").replace('"', "&quot;");
    let outside = format!(
        "<iframe style=\"width:{window}px;height:800px;border:0\" srcdoc=\"{inside}\"></iframe>\
         <p id=said></p><script>addEventListener('load',()=>said.textContent='['+'['+\
         document.querySelector('iframe').contentDocument.documentElement.scrollWidth+']'+']')\
         </script>"
    );
    let file = root.join("framed.html");
    fs::write(&file, outside).expect("space");
    let width = written(&shown(chromium, root, &file));
    width.parse().expect("a number of pixels")
}
