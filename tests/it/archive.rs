//! What the archive holds: the right bytes, under the right key, once.

// One version, one object: its bytes, its name, what is written on it.
mod objects;
// Large objects go up in parts.
mod parts;
// MySQL and MariaDB rename files while we look.
mod rotation;
// Files that grow: versions of one key only ever increase.
mod versions;
