//! The npm package, packed from the built pages as `make npm` does, and what a developer does with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The packed package, unpacked beside where it would be installed. It is deleted when dropped.
#[derive(Debug)]
pub struct Package {
    folder: tempfile::TempDir,
    tarball: PathBuf,
}

/// Runs a program to its end in a folder, and gives what it wrote. Its output is in the error when it fails.
pub fn run(folder: &Path, command: &[&str]) -> Result<String> {
    let (program, arguments) = command.split_first().context("a command has a name")?;
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} in {}: {}\n{text}",
        command.join(" "),
        folder.display(),
        output.status
    );
    Ok(text)
}

impl Package {
    /// Packs it into a folder of its own, and lays it into that one's `node_modules` with what the tests' packages bring.
    pub fn pack() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = crate::file("..").canonicalize()?;
        ensure!(
            root.join("www/dist/index.html").exists(),
            "the pages are missing: run `make pages` (make test does)"
        );
        let out = folder.path().to_str().context("a path of text")?;
        run(&root, &[".ci/npm.sh", out])?;
        let tarball = std::fs::read_dir(folder.path())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
            .context("npm packed nothing")?;
        std::fs::write(folder.path().join("package.json"), r#"{ "type": "module" }"#)?;
        let installed = folder.path().join("node_modules/sightline-player");
        std::fs::create_dir_all(&installed)?;
        run(&installed, &["tar", "xzf", &tarball.to_string_lossy(), "--strip-components=1"])?;
        for name in ["react", "@types"] {
            let package = crate::file("browser/node_modules").join(name);
            ensure!(
                package.exists(),
                "{} is missing: run `npm ci` in tests/browser (make test does)",
                package.display()
            );
            std::os::unix::fs::symlink(package, folder.path().join("node_modules").join(name))?;
        }
        Ok(Self { folder, tarball })
    }

    /// The tarball.
    pub fn tarball(&self) -> &Path {
        &self.tarball
    }

    /// A folder whose `node_modules` has it.
    pub fn project(&self) -> &Path {
        self.folder.path()
    }

    /// A file of it, by its path inside.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("node_modules/sightline-player").join(path)
    }
}
