//! The title of a terminal's window.

/// The most bytes of a title; a longer one is cut.
const MAX_TITLE: usize = 1024;

/// The most titles that are saved; then the oldest is forgotten.
const MAX_SAVED: usize = 10;

/// A title, and those that programs have saved.
#[derive(Debug, Default)]
pub struct Title {
    shown: String,
    saved: Vec<String>,
}

impl Title {
    /// The title that shows.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Sets the title; control characters are left out.
    pub fn set(&mut self, title: &str) {
        self.shown.clear();
        for character in title.chars().filter(|character| !character.is_control()) {
            if self.shown.len() + character.len_utf8() > MAX_TITLE {
                break;
            }
            self.shown.push(character);
        }
    }

    /// Saves the title.
    pub fn save(&mut self) {
        if self.saved.len() == MAX_SAVED {
            self.saved.remove(0);
        }
        self.saved.push(self.shown.clone());
    }

    /// Shows the title that was saved last, if there is one.
    pub fn restore(&mut self) {
        if let Some(saved) = self.saved.pop() {
            self.shown = saved;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_cut_between_characters_and_has_no_control_characters() {
        let mut title = Title::default();
        title.set("a\u{9b}b\u{7f}c");
        assert_eq!(title.shown(), "abc");
        title.set(&"€".repeat(1000));
        assert_eq!(title.shown(), "€".repeat(341));
    }

    #[test]
    fn the_last_titles_are_saved() {
        let mut title = Title::default();
        for number in 0..100 {
            title.set(&number.to_string());
            title.save();
        }
        for number in (90..100).rev() {
            title.restore();
            assert_eq!(title.shown(), number.to_string());
        }
        title.restore();
        assert_eq!(title.shown(), "90");
    }
}
