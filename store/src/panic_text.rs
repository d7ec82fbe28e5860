//! What a panic that was caught said.

use std::any::Any;

/// What a panic said, as far as it said it in words.
///
/// # Examples
/// ```
/// use chronicler_store::panic_text;
///
/// let panic = std::panic::catch_unwind(|| panic!("page {} is gone", 7)).unwrap_err();
/// assert_eq!(panic_text(panic.as_ref()), "page 7 is gone");
/// ```
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it said nothing in words")
}
