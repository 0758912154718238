//! Splits text.
/// Words of a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

#[test]
fn counts() {
    assert_eq!(words("a b").count(), 2);
}
