//! A terminal emulator: from a terminal's output to its screen.

use std::time::Duration;

use alacritty_terminal::vte::ansi::{Processor, Timeout};

use super::canvas::Canvas;
use super::long_strings::LongStrings;
use super::size::Size;
use super::view::View;

/// A terminal emulator.
pub struct Emulator {
    processor: Processor<Never>,
    strings: LongStrings,
    canvas: Canvas,
}

/// Synchronized updates (mode 2026) are drawn as they come: they would be kept until an end that may never come.
#[derive(Debug, Default)]
struct Never;

impl Timeout for Never {
    fn set_timeout(&mut self, _: Duration) {}

    fn clear_timeout(&mut self) {}

    fn pending_timeout(&self) -> bool {
        false
    }
}

impl Emulator {
    /// One with an empty screen.
    pub fn new(size: Size) -> Self {
        Self {
            processor: Processor::new(),
            strings: LongStrings::default(),
            canvas: Canvas::new(size),
        }
    }

    /// The beginning of `bytes` that one call draws.
    pub fn piece<'bytes>(&self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        &bytes[..bytes.len().min(self.canvas.piece())]
    }

    /// Draws one piece.
    pub fn draw(&mut self, piece: &[u8]) {
        let mut rest = self.piece(piece);
        self.canvas.begin_piece();
        while !rest.is_empty() {
            let (part, seen) = self.strings.next_part(rest);
            self.processor.advance(&mut self.canvas, &rest[part]);
            rest = &rest[seen..];
        }
    }

    /// Changes the size.
    pub fn resize(&mut self, size: Size) {
        self.canvas.resize(size);
    }

    /// What shows.
    pub fn view(&self) -> View {
        self.canvas.view()
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::PIECE;
    use super::*;

    fn shown(size: (u16, u16), output: &[u8]) -> View {
        let mut emulator = emulator(size);
        output.chunks(PIECE).for_each(|piece| emulator.draw(piece));
        emulator.view()
    }

    fn emulator((cols, rows): (u16, u16)) -> Emulator {
        Emulator::new(Size { cols, rows })
    }

    #[test]
    fn lines_end_before_their_blanks() {
        let view = shown((10, 3), b"one  \r\n\x1b[31m  two\x1b[0m   \x1b]2;a title\x07");
        assert_eq!(view.lines, ["one", "  two", ""]);
        assert_eq!((view.cursor_row, view.cursor_col), (1, 8));
        assert_eq!(view.title, "a title");
        assert!(view.cursor_visible && !view.alternate_screen);
    }

    #[test]
    fn line_drawing_and_the_alternate_screen() {
        let view = shown((10, 2), b"before\x1b[?1049h\x1b[H\x1b(0lqk\x1b(B\x1b[?25l");
        assert_eq!(view.lines, ["┌─┐", ""]);
        assert!(view.alternate_screen && !view.cursor_visible);
        let view = shown((10, 2), b"before\x1b[?1047h\x1b[Hthere\x1b[?1047l");
        assert_eq!(view.lines[0], "before");
    }

    #[test]
    fn the_cursor_stops_at_margins_and_obeys_the_origin() {
        let view = shown((10, 5), b"\x1b[2;4r\x1b[3;1H\x1b[9Aa\x1b[9Bb");
        assert_eq!(view.lines, ["", "a", "", " b", ""]);
        let view = shown((10, 5), b"\x1b[2;4r\x1b[?6h\x1b[1;1Ha\x1b[5Gb\x1b[1Bc\x1b[9Fd");
        assert_eq!(view.lines, ["", "d   b", "     c", "", ""]);
    }

    #[test]
    fn marks_join_their_character_and_are_bounded() {
        let output = ["e\u{301}", "x", &"\u{302}".repeat(1000), "漢\u{303}字"].concat();
        let view = shown((10, 1), output.as_bytes());
        assert_eq!(
            view.lines,
            [["e\u{301}x", &"\u{302}".repeat(6), "漢\u{303}字"].concat()]
        );
        assert_eq!(view.cursor_col, 6);
    }

    #[test]
    fn a_repetition_fills_the_screen_and_no_more() {
        let view = shown((10, 3), b"a\x1b[65535b");
        // 30 cells and a piece's length.
        assert_eq!(view.lines, ["aaaaaaaaaa", "aaaaaaaaaa", "aaaa"]);
    }

    #[test]
    fn a_larger_screen_is_drawn_in_smaller_pieces() {
        let lengths = [(2, 1), (80, 24), (200, 50), (1024, 64)].map(|size| {
            let emulator = emulator(size);
            emulator.piece(&[b'x'; 1000]).len()
        });
        assert_eq!(lengths, [64, 64, 12, 4]);
    }

    #[test]
    fn lines_wrap_anew_when_the_size_changes() {
        let mut emulator = emulator((10, 3));
        emulator.draw(b"0123456789abcdef");
        emulator.resize(Size { cols: 16, rows: 3 });
        assert_eq!(emulator.view().lines[0], "0123456789abcdef");
    }

    /// A small generator of numbers (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }

        fn of<T: Copy>(&mut self, choices: &[T]) -> T {
            choices[self.below(choices.len())]
        }
    }

    /// Output that is more like a terminal's than random bytes are.
    fn some_output(random: &mut Random) -> Vec<u8> {
        let mut output = Vec::new();
        match random.below(8) {
            0 => output.extend((0..random.below(40)).map(|_| random.below(256) as u8)),
            1 => output.extend((0..random.below(100)).map(|_| 0x20 + random.below(95) as u8)),
            2..=4 => {
                output.extend(b"\x1b[");
                output.extend(random.of(&["", "", "", "?", ">", "!"]).bytes());
                let numbers: Vec<_> = (0..random.below(4))
                    .map(|_| {
                        random.of(&[
                            0, 1, 2, 3, 4, 6, 7, 25, 47, 80, 1047, 1048, 1049, 2026, 65535, 99999,
                        ])
                    })
                    .map(|number| number.to_string())
                    .collect();
                output.extend(numbers.join(";").bytes());
                output.push(0x40 + random.below(63) as u8);
            }
            5 => output.extend([0x1b, 0x20 + random.below(95) as u8, b"0AB8]P"[random.below(6)]]),
            6 => {
                let characters = [
                    "漢", "\u{301}", "\u{200d}", "👩", "\u{fe0f}", "\u{1100}", "ﷺ", "é", "\u{ad}",
                ];
                output.extend((0..random.below(20)).flat_map(|_| random.of(&characters).bytes()));
            }
            _ => output.extend((0..random.below(30)).map(|_| random.of(b"\n\r\t\x08\x0b\x0e\x0f\x07"))),
        }
        output
    }

    /// No output and no sizes make the emulator fail, and what it shows is within its bounds.
    #[test]
    fn any_output_at_any_size_has_a_screen() {
        for seed in 1..=40 {
            let mut random = Random(seed);
            let mut emulator =
                emulator(random.of(&[(2, 1), (2, 2), (3, 2), (80, 24), (7, 3), (40, 1), (2, 40)]));
            for _ in 0..60 {
                for piece in some_output(&mut random).chunks(1 + random.below(PIECE)) {
                    emulator.draw(piece);
                }
                if random.below(4) == 0 {
                    let (cols, rows) =
                        random.of(&[(2, 1), (2, 2), (4, 3), (5, 1), (90, 30), (120, 2), (33, 60)]);
                    emulator.resize(Size { cols, rows });
                }
                let view = emulator.view();
                assert!(view.cursor_row < view.lines.len() && view.cursor_col < usize::from(view.cols));
                let longest = view.lines.iter().map(|line| line.chars().count()).max();
                assert!(longest.is_some_and(|longest| longest <= 7 * usize::from(view.cols)));
            }
        }
    }
}
