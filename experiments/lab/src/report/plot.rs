//! A picture of a report, drawn for wide and for narrow pages.

use figures::plot::Picture;

/// The screen that a picture is drawn for. One made for a desktop and shrunk to a phone has letters
/// that nobody can read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room {
    Desktop,
    Phone,
}

impl Room {
    /// The one for this room.
    pub(super) fn pick<T>(self, desktop: T, phone: T) -> T {
        match self {
            Self::Desktop => desktop,
            Self::Phone => phone,
        }
    }

    /// Width of a picture in pixels.
    pub(super) fn width(self) -> f64 {
        self.pick(760.0, 364.0)
    }

    /// Width and height of a picture that is `height` high on a desktop.
    pub(super) fn size(self, height: f64) -> [f64; 2] {
        [self.width(), self.pick(height, 320.0)]
    }
}

/// A picture with its name in files.
#[derive(Debug, Clone)]
pub struct Plot {
    /// `differences`.
    pub name: &'static str,
    /// Caption: what is shown, and how to read it.
    pub caption: String,
    /// The picture.
    pub picture: Picture,
    /// The same for a page that is no wider than a phone.
    pub narrow: Picture,
}

impl Plot {
    pub(super) fn new(
        name: &'static str,
        caption: impl Into<String>,
        draw: impl Fn(Room) -> Picture,
    ) -> Self {
        Self {
            name,
            caption: caption.into(),
            picture: draw(Room::Desktop),
            narrow: draw(Room::Phone),
        }
    }
}
