//! The npm package as it is packed: its shape, its types, and that importing it does nothing where there is no browser.

use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use sightline_tests::camera::free_port;
use sightline_tests::package::{Package, run};
use sightline_tests::proxy::Proxy;

/// All tests look at one.
fn package() -> Result<&'static Package> {
    static PACKAGE: LazyLock<Result<Package>> = LazyLock::new(Package::pack);
    PACKAGE.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// Runs a tool of `tests/browser/node_modules` where the package is installed.
fn tool(name: &str, arguments: &[&str]) -> Result<String> {
    let program = sightline_tests::file("browser/node_modules/.bin").join(name);
    let program = program.to_str().context("a path of text")?;
    run(package()?.project(), &[&[program], arguments].concat())
}

#[test]
fn its_shape_is_what_tools_expect() -> Result<()> {
    let tarball = package()?.tarball().to_str().context("a path of text")?;
    let said = tool("publint", &["run", tarball, "--strict"])?;
    ensure!(said.contains("All good"), "{said}");
    // It is for ES modules only: Node's `require` takes them from 22.12 on.
    let not_code = ["--exclude-entrypoints", "player_bg.wasm", "sightline-player.js"];
    let said = tool("attw", &[&[tarball, "--profile", "esm-only"][..], &not_code].concat())?;
    ensure!(said.contains("sightline-player/react"), "{said}");
    Ok(())
}

#[test]
fn its_types_are_those_of_what_pages_do() -> Result<()> {
    let project = package()?.project();
    for name in ["uses.ts", "uses.tsx"] {
        std::fs::copy(sightline_tests::file("package").join(name), project.join(name))?;
    }
    let strict = [
        "--strict",
        "--noEmit",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom,dom.iterable",
        "--jsx",
        "react-jsx",
    ];
    for module in [["esnext", "bundler"], ["nodenext", "nodenext"]] {
        let modules = ["--module", module[0], "--moduleResolution", module[1], "--types", "react"];
        tool("tsc", &[&strict[..], &modules, &["uses.ts", "uses.tsx"]].concat())?;
    }
    Ok(())
}

#[test]
fn importing_it_in_node_does_nothing() -> Result<()> {
    let names =
        ["sightline-player", "sightline-player/element", "sightline-player/react", "sightline-player/inline"];
    for name in names {
        let script = format!(
            "const before = Object.keys(globalThis).length; const it = await import('{name}'); \
             if (Object.keys(globalThis).length !== before) throw new Error('it left something'); \
             console.log(Object.keys(it).sort().join())"
        );
        // It ends by itself: no timer, no socket.
        let said = run(package()?.project(), &["node", "--input-type=module", "-e", &script])?;
        ensure!(said.contains("Player"), "{name}: {said}");
    }
    Ok(())
}

/// What a script says it imports, minified or not.
fn imported(script: &str) -> impl Iterator<Item = &str> {
    ["from", "import", "import("].into_iter().flat_map(|before| script.split(before).skip(1)).filter_map(
        |rest| {
            let rest = rest.trim_start();
            let quote = rest.chars().next().filter(|char| matches!(char, '"' | '\''))?;
            rest[1..].split(quote).next()
        },
    )
}

#[test]
fn no_framework_and_no_other_package_is_in_it() -> Result<()> {
    let manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(package()?.file("package.json"))?)?;
    ensure!(
        manifest.get("dependencies").is_none()
            && manifest["peerDependenciesMeta"]["react"]["optional"] == true
    );
    for name in
        ["react.js", "vue.js", "inline.js", "sightline-player/index.js", "sightline-player/element.js"]
    {
        let text = std::fs::read_to_string(package()?.file(name))?;
        let imported: Vec<_> = imported(&text).collect();
        let mut others = imported.iter().filter(|from| !from.starts_with("./") && **from != "react");
        ensure!(!imported.is_empty() && others.next().is_none(), "{name}: {imported:?}");
    }
    Ok(())
}

#[test]
fn its_plain_script_is_the_one_that_the_proxy_serves() -> Result<()> {
    let proxy = Proxy::start([format!("cam=rtsp://127.0.0.1:{}/cam", free_port()?)])?;
    let folder = package()?.file("sightline-player");
    let mut names = vec!["sightline-player.js".to_owned()];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js") {
            let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            names.push(format!("sightline-player/{name}"));
        }
    }
    ensure!(names.len() >= 7, "{names:?}");
    for name in names {
        let served = proxy.get(&format!("/{name}"))?;
        ensure!(served.body == std::fs::read_to_string(package()?.file(&name))?, "{name} differs");
    }
    Ok(())
}
