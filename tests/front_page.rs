//! The front page shows the first example as it is.

#[test]
fn the_readme_shows_the_first_example_whole() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/bank_account.rs");
    assert!(
        readme.contains(example.trim_end()),
        "README.md shows another bank_account.rs"
    );
    let lines = example
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    assert!(lines <= 30, "first contact takes {lines} lines");
    assert!(readme.lines().count() < 200, "the front page is one page");
}
