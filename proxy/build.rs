//! Makes cargo look at the built pages: files that appear in the folder would go unnoticed otherwise, and a release
//! would carry old pages or none.

fn main() {
    std::io::Write::write_all(&mut std::io::stdout(), b"cargo::rerun-if-changed=../www/dist\n")
        .expect("cargo reads what its build scripts say");
}
