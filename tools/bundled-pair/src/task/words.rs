//! Word pools of the stories, and the equally likely phrasings of the rationale.

/// First names, all single tokens of the bundled tokenizer.
pub(super) const NAMES: [&str; 16] = [
    "Mia", "Tom", "Ana", "Ben", "Leo", "Zoe", "Sam", "Eva", "Max", "Lily", "Noah", "Emma", "Jack",
    "Ruby", "Finn", "Ida",
];

/// Countable things that a person can own, find, lose, buy and share.
pub(super) const OBJECTS: [&str; 24] = [
    "pens", "books", "cards", "stamps", "coins", "shells", "stones", "balls", "marbles",
    "stickers", "pencils", "buttons", "beads", "cups", "kites", "keys", "combs", "dolls", "rings",
    "ribbons", "candles", "toys", "plates", "bells",
];

/// Things bought one at a time, with their article.
pub(super) const SINGLES: [&str; 8] =
    ["a hat", "a lamp", "a clock", "a scarf", "a mug", "a game", "a flag", "a drum"];

/// Events with a day.
pub(super) const DAY_EVENTS: [&str; 8] =
    ["party", "trip", "test", "match", "concert", "visit", "picnic", "race"];

/// Events with a month.
pub(super) const MONTH_EVENTS: [&str; 6] = ["sale", "fair", "show", "feast", "camp", "wedding"];

/// Days of the week, in order.
pub(super) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Months of the year, in order.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Compass directions, clockwise.
pub(super) const COMPASS: [&str; 4] = ["north", "east", "south", "west"];

/// Stops of a bus.
pub(super) const STOPS: [&str; 7] =
    ["park", "school", "market", "bridge", "station", "museum", "library"];

/// First words of a rationale step, equally likely and without effect on the answer.
pub(super) const LEADS: [&str; 8] =
    ["Now", "Well", "Here", "Okay", "Right", "Good", "Fine", "Sure"];

/// Verbs of a rationale step, equally likely and without effect on the answer.
pub(super) const VERBS: [&str; 8] =
    ["find", "get", "compute", "determine", "note", "check", "give", "state"];

/// First words of the last sentence, equally likely.
pub(super) const OPENERS: [&str; 6] = ["So", "Thus", "Hence", "Therefore", "Then", "Clearly"];
