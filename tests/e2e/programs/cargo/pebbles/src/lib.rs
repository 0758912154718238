//! Counts.
/// Letters of a text.
pub fn count(text: &str) -> usize {
    text.chars().filter(|letter| letter.is_alphabetic()).count()
}
