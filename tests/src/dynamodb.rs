//! A small evaluator of DynamoDB's update and condition expressions: as much of the language as the product speaks.
//!
//! The model of the protocol applies production's own writes with it; a test holds it to what a real table does.

use std::cmp::Ordering;
use std::iter::Peekable;

use aws_sdk_dynamodb::types::AttributeValue;
use shared::checkpoint::Item;
use shared::checkpoint::transition::Transition;

/// What is wrong with an expression, or with what it is applied to.
pub type Wrong = String;

/// Makes one conditional write of the item with that key. `Ok(None)`: its condition does not hold, so nothing changes.
pub fn write(
    pk: &str,
    sk: &str,
    item: Option<&Item>,
    transition: &Transition,
) -> Result<Option<Item>, Wrong> {
    let empty = Item::new();
    let old = item.unwrap_or(&empty);
    let values = &transition.values;
    if let Some(condition) = transition.condition {
        let mut parser = Parser::new(condition, old, values);
        let holds = parser.any()?;
        parser.end()?;
        if !holds {
            return Ok(None);
        }
    }
    let mut new = old.clone();
    for (name, key) in [("pk", pk), ("sk", sk)] {
        new.insert(name.to_owned(), AttributeValue::S(key.to_owned()));
    }
    let mut parser = Parser::new(&transition.update, old, values);
    parser.clauses(&mut new)?;
    parser.end()?;
    Ok(Some(new))
}

/// Reads an expression from left to right, and says what it comes to. Operands are those of the item before the write.
struct Parser<'a> {
    tokens: Peekable<std::vec::IntoIter<&'a str>>,
    item: &'a Item,
    values: &'a [(&'static str, AttributeValue)],
}

impl<'a> Parser<'a> {
    fn new(
        expression: &'a str,
        item: &'a Item,
        values: &'a [(&'static str, AttributeValue)],
    ) -> Self {
        let tokens = tokens(expression).into_iter().peekable();
        Self {
            tokens,
            item,
            values,
        }
    }

    /// `SET #a = operand [+ operand], … REMOVE #a, …`
    fn clauses(&mut self, new: &mut Item) -> Result<(), Wrong> {
        while let Some(clause) = self.tokens.next() {
            loop {
                let name = self.name()?;
                match clause {
                    "SET" => {
                        self.expect("=")?;
                        let value = self.sum()?;
                        new.insert(name, value);
                    }
                    "REMOVE" => {
                        new.remove(&name);
                    }
                    other => return Err(format!("no clause {other}")),
                }
                if !self.take(",") {
                    break;
                }
            }
        }
        Ok(())
    }

    /// `operand [+ operand]`
    fn sum(&mut self) -> Result<AttributeValue, Wrong> {
        let first = self.operand()?.ok_or("an attribute is not there")?;
        if !self.take("+") {
            return Ok(first);
        }
        let second = self.operand()?.ok_or("an attribute is not there")?;
        Ok(AttributeValue::N(
            (integer(&first)? + integer(&second)?).to_string(),
        ))
    }

    /// `#a`, `:a` or `if_not_exists(#a, operand)`; `None`: the attribute is not there.
    fn operand(&mut self) -> Result<Option<AttributeValue>, Wrong> {
        let token = self.next()?;
        if token == "if_not_exists" {
            self.expect("(")?;
            let name = self.name()?;
            self.expect(",")?;
            let otherwise = self.operand()?;
            self.expect(")")?;
            return Ok(self.item.get(&name).cloned().or(otherwise));
        }
        if let Some(name) = token.strip_prefix('#') {
            return Ok(self.item.get(name).cloned());
        }
        let value = token
            .strip_prefix(':')
            .and_then(|name| self.values.iter().find(|(known, _)| *known == name));
        value
            .map(|(_, value)| Some(value.clone()))
            .ok_or_else(|| format!("no operand {token}"))
    }

    /// `all OR all …`
    fn any(&mut self) -> Result<bool, Wrong> {
        let mut holds = self.all()?;
        while self.take("OR") {
            holds |= self.all()?;
        }
        Ok(holds)
    }

    /// `test AND test …`, which binds closer than OR.
    fn all(&mut self) -> Result<bool, Wrong> {
        let mut holds = self.test()?;
        while self.take("AND") {
            holds &= self.test()?;
        }
        Ok(holds)
    }

    /// `(any)`, `attribute_not_exists(#a)`, `operand IN (operand, …)` or `operand comparator operand`.
    fn test(&mut self) -> Result<bool, Wrong> {
        if self.take("(") {
            let holds = self.any()?;
            self.expect(")")?;
            return Ok(holds);
        }
        if self.take("attribute_not_exists") {
            self.expect("(")?;
            let name = self.name()?;
            self.expect(")")?;
            return Ok(!self.item.contains_key(&name));
        }
        let left = self.operand()?;
        if !self.take("IN") {
            let comparator = self.next()?;
            let right = self.operand()?;
            return compare(comparator, left.as_ref(), right.as_ref());
        }
        self.expect("(")?;
        let mut holds = false;
        loop {
            holds |= compare("=", left.as_ref(), self.operand()?.as_ref())?;
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(holds)
    }

    fn name(&mut self) -> Result<String, Wrong> {
        let token = self.next()?;
        let name = token.strip_prefix('#').map(str::to_owned);
        name.ok_or_else(|| format!("{token} is no attribute"))
    }

    fn next(&mut self) -> Result<&'a str, Wrong> {
        self.tokens
            .next()
            .ok_or_else(|| "it ends too early".to_owned())
    }

    fn take(&mut self, token: &str) -> bool {
        self.tokens.next_if(|next| *next == token).is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), Wrong> {
        let next = self.next()?;
        let found = (next == token).then_some(());
        found.ok_or_else(|| format!("{next} instead of {token}"))
    }

    fn end(&mut self) -> Result<(), Wrong> {
        self.tokens
            .next()
            .map_or(Ok(()), |token| Err(format!("{token} is too much")))
    }
}

/// What is not there differs from everything, and is neither more nor less than anything.
fn compare(
    comparator: &str,
    left: Option<&AttributeValue>,
    right: Option<&AttributeValue>,
) -> Result<bool, Wrong> {
    let order = match left.zip(right) {
        None => return Ok(comparator == "<>"),
        Some((AttributeValue::S(left), AttributeValue::S(right))) => Some(left.cmp(right)),
        Some((left @ AttributeValue::N(_), right @ AttributeValue::N(_))) => {
            Some(integer(left)?.cmp(&integer(right)?))
        }
        Some(_) => None,
    };
    match comparator {
        "=" => Ok(order == Some(Ordering::Equal)),
        "<>" => Ok(order != Some(Ordering::Equal)),
        "<" => Ok(order == Some(Ordering::Less)),
        "<=" => Ok(order.is_some_and(Ordering::is_le)),
        other => Err(format!("no comparator {other}")),
    }
}

fn integer(value: &AttributeValue) -> Result<i128, Wrong> {
    let digits = value.as_n().ok().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("{value:?} is no integer"))
}

/// Words, with their `#` or `:`, and signs.
fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || "_#:".contains(c);
        let length = match first {
            c if in_word(c) => rest.find(|c| !in_word(c)).unwrap_or(rest.len()),
            '<' if rest.starts_with("<>") || rest.starts_with("<=") => 2,
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}
