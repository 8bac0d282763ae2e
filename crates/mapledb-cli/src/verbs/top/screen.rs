//! The report on a terminal: a screen of its own, drawn anew after each look, and given back however this ends.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use crossterm::{cursor, execute, queue, style, terminal};
use mapledb::Env;

use super::report::Look;
use crate::failure::Failure;
use crate::output::Output;

/// Draws reports until somebody asks for the end.
pub fn show(env: &Env, interval: Duration) -> Result<(), Failure> {
    let mut before = Look::at(env)?;
    let screen = Screen::open()?;
    screen.draw("looking …\n")?;
    while !wait_for_end(interval)? {
        let report = super::next_report(env, &mut before)?;
        let mut text = Output::to_memory();
        report.in_words(&mut text)?;
        screen.draw(&text.into_text())?;
    }
    Ok(())
}

/// The terminal, while it is ours.
struct Screen;

impl Screen {
    fn open() -> Result<Screen, Failure> {
        terminal::enable_raw_mode().map_err(refused)?;
        let screen = Screen;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide).map_err(refused)?;
        Ok(screen)
    }

    /// Draws as many lines as there is room for, and the last one for what can be done.
    fn draw(&self, text: &str) -> Result<(), Failure> {
        let (width, height) = match terminal::size().map_err(refused)? {
            // Of one that does not know.
            (0, _) | (_, 0) => (80, 24),
            size => size,
        };
        let mut out = io::stdout().lock();
        queue!(out, cursor::MoveTo(0, 0)).map_err(refused)?;
        for line in text.lines().take(usize::from(height.saturating_sub(1))) {
            let line: String = line.chars().take(usize::from(width)).collect();
            queue!(
                out,
                style::Print(line),
                terminal::Clear(terminal::ClearType::UntilNewLine),
                cursor::MoveToNextLine(1)
            )
            .map_err(refused)?;
        }
        queue!(out, terminal::Clear(terminal::ClearType::FromCursorDown)).map_err(refused)?;
        queue!(out, cursor::MoveTo(0, height.saturating_sub(1)), style::Print("q: quit")).map_err(refused)?;
        out.flush().map_err(refused)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // What cannot be given back cannot be helped.
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// Waits for the next look, or less: answers whether the end was asked for.
fn wait_for_end(time: Duration) -> Result<bool, Failure> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !event::poll(left).map_err(refused)? {
            return Ok(false);
        }
        if let Event::Key(key) = event::read().map_err(refused)?
            && asks_for_end(key)
        {
            return Ok(true);
        }
    }
}

fn asks_for_end(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

fn refused(error: io::Error) -> Failure {
    Failure::writing("the terminal", &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_ctrl_c_end_it_and_nothing_else() {
        let key = |code, modifiers| asks_for_end(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Enter, KeyModifiers::NONE));
    }
}
