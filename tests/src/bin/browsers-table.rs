//! Writes the tables of `docs/browsers.md` from what the tests have seen; with `--check`, ends with an error where the
//! document says something else. Wants a whole run of the tests before it.

use anyhow::{Context, Result, bail};

const BEGIN: &str = "<!-- written by the tests: make browsers -->\n";
const END: &str = "<!-- end -->\n";

fn main() -> Result<()> {
    let path = sightline_tests::file("../docs/browsers.md");
    let old = std::fs::read_to_string(&path)?;
    let (before, rest) = old.split_once(BEGIN).context("docs/browsers.md has lost its mark")?;
    let (_, after) = rest.split_once(END).context("docs/browsers.md has lost its second mark")?;
    let new = format!("{before}{BEGIN}\n{}\n{END}{after}", sightline_tests::seen::tables()?);
    if std::env::args().any(|argument| argument == "--check") {
        for (line, (old, new)) in old.lines().zip(new.lines()).enumerate() {
            if old != new {
                bail!(
                    "docs/browsers.md, line {}, says\n{old}\nand the tests say\n{new}\n`make browsers` writes it",
                    line + 1
                );
            }
        }
        if old.lines().count() != new.lines().count() {
            bail!("docs/browsers.md has other lines than the tests: `make browsers` writes it");
        }
    } else if old != new {
        std::fs::write(&path, new)?;
    }
    Ok(())
}
