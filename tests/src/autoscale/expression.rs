//! CloudWatch's metric math, as far as alarms here use it.
//!
//! What matters most is a metric that has no value in a minute: an operation has none then either, `FILL` puts one in its place,
//! and `IF` has the value of the branch that is taken.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>

use anyhow::{Context, bail, ensure};

/// An expression of metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    /// A metric by its id, or a word such as `REPEAT`.
    Name(String),
    List(Vec<Node>),
    Call(String, Vec<Node>),
    Operation(Operator, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Above,
    Below,
}

impl Expression {
    /// `Err`: it is none, or has something that is not known here.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let tokens = tokens(text)?;
        let mut rest = tokens.as_slice();
        let node = comparison(&mut rest).with_context(|| format!("in {text}"))?;
        ensure!(rest.is_empty(), "{rest:?} is left of {text}");
        Ok(Self(node))
    }

    /// Its value where metrics have these; `None`: it has none.
    pub fn value(
        &self,
        metric: &impl Fn(&str) -> anyhow::Result<Option<f64>>,
    ) -> anyhow::Result<Option<f64>> {
        self.0.value(metric)
    }

    /// Metrics that must have a value for it to have one: those that no `FILL` is around.
    pub fn unfilled(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.0.unfilled(&mut found);
        found
    }
}

impl Node {
    fn value(
        &self,
        metric: &impl Fn(&str) -> anyhow::Result<Option<f64>>,
    ) -> anyhow::Result<Option<f64>> {
        Ok(match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => metric(name)?,
            Self::Operation(operator, left, right) => {
                match (left.value(metric)?, right.value(metric)?) {
                    (Some(left), Some(right)) => Some(operator.of(left, right)),
                    _ => None,
                }
            }
            Self::Call(name, arguments) => match (name.as_str(), arguments.as_slice()) {
                ("FILL", [metrics, Self::Number(instead)]) => {
                    Some(metrics.value(metric)?.unwrap_or(*instead))
                }
                ("IF", [condition, then, other]) => match condition.value(metric)? {
                    Some(condition) if condition != 0.0 => then.value(metric)?,
                    Some(_) => other.value(metric)?,
                    None => None,
                },
                _ => bail!("{name} of {arguments:?} is not simulated"),
            },
            Self::List(_) => bail!("a list has no value"),
        })
    }

    fn unfilled<'n>(&'n self, found: &mut Vec<&'n str>) {
        match self {
            Self::Number(_) => {}
            Self::Name(name) => found.push(name),
            Self::Call(name, _) if name == "FILL" => {}
            Self::Call(_, nodes) | Self::List(nodes) => {
                for node in nodes {
                    node.unfilled(found);
                }
            }
            Self::Operation(_, left, right) => {
                left.unfilled(found);
                right.unfilled(found);
            }
        }
    }
}

impl Operator {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Above => f64::from(u8::from(left > right)),
            Self::Below => f64::from(u8::from(left < right)),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Sign(char),
}

fn tokens(text: &str) -> anyhow::Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = first.is_ascii_alphanumeric() || first == '_';
        let length = if is_word {
            let end =
                |letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '.';
            rest.find(end).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match token.parse() {
            Ok(number) => Token::Number(number),
            Err(_) if is_word => Token::Word(token.to_owned()),
            Err(_) => {
                ensure!("+-*<>()[],".contains(first), "{first} is not known here");
                Token::Sign(first)
            }
        });
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn comparison(rest: &mut &[Token]) -> anyhow::Result<Node> {
    operations(rest, &[('>', Operator::Above), ('<', Operator::Below)], sum)
}

fn sum(rest: &mut &[Token]) -> anyhow::Result<Node> {
    operations(
        rest,
        &[('+', Operator::Add), ('-', Operator::Subtract)],
        product,
    )
}

fn product(rest: &mut &[Token]) -> anyhow::Result<Node> {
    operations(rest, &[('*', Operator::Multiply)], operand)
}

/// Operations of one rank, from the left.
fn operations(
    rest: &mut &[Token],
    known: &[(char, Operator)],
    operand: fn(&mut &[Token]) -> anyhow::Result<Node>,
) -> anyhow::Result<Node> {
    let mut node = operand(rest)?;
    while let Some((Token::Sign(sign), after)) = rest.split_first()
        && let Some((_, operator)) = known.iter().find(|(known, _)| known == sign)
    {
        *rest = after;
        node = Node::Operation(*operator, Box::new(node), Box::new(operand(rest)?));
    }
    Ok(node)
}

fn operand(rest: &mut &[Token]) -> anyhow::Result<Node> {
    let (token, after) = rest.split_first().context("something is missing")?;
    *rest = after;
    Ok(match token {
        Token::Number(number) => Node::Number(*number),
        Token::Word(name) if rest.first() == Some(&Token::Sign('(')) => {
            *rest = rest.get(1..).unwrap_or_default();
            Node::Call(name.clone(), list(rest, ')')?)
        }
        Token::Word(name) => Node::Name(name.clone()),
        Token::Sign('[') => Node::List(list(rest, ']')?),
        Token::Sign('(') => {
            let node = comparison(rest)?;
            expect(rest, ')')?;
            node
        }
        Token::Sign(sign) => bail!("{sign} where a value should be"),
    })
}

fn list(rest: &mut &[Token], end: char) -> anyhow::Result<Vec<Node>> {
    let mut nodes = vec![comparison(rest)?];
    while rest.first() == Some(&Token::Sign(',')) {
        expect(rest, ',')?;
        nodes.push(comparison(rest)?);
    }
    expect(rest, end)?;
    Ok(nodes)
}

fn expect(rest: &mut &[Token], sign: char) -> anyhow::Result<()> {
    match rest.split_first() {
        Some((Token::Sign(found), after)) if *found == sign => {
            *rest = after;
            Ok(())
        }
        other => bail!("{sign} expected, not {:?}", other.map(|(token, _)| token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_the_values_that_aws_describes() -> anyhow::Result<()> {
        let metric = |name: &str| match name {
            "two" => Ok(Some(2.0)),
            "three" => Ok(Some(3.0)),
            "absent" => Ok(None),
            other => bail!("there is no {other}"),
        };
        for (text, expected) in [
            ("two + three * 2", Some(8.0)),
            ("(two + three) * 2", Some(10.0)),
            ("three - two - 1", Some(0.0)),
            ("two + absent", None),
            ("two + FILL(absent, 0)", Some(2.0)),
            ("FILL(two, 0)", Some(2.0)),
            ("two + 1 > three", Some(0.0)),
            ("IF(three > two, 0.5, absent)", Some(0.5)),
            ("IF(three < two, 0.5, absent)", None),
            ("IF(absent > 0, 1, 2)", None),
        ] {
            let value = Expression::parse(text)?.value(&metric)?;
            assert_eq!(value, expected, "{text}");
        }
        for text in ["", "two +", "two three", "FILL(two, 0", "two / 0", ")"] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        assert!(Expression::parse("four")?.value(&metric).is_err());
        Ok(())
    }

    #[test]
    fn metrics_that_must_be_there_are_those_without_fill() -> anyhow::Result<()> {
        for (text, expected) in [
            ("a + FILL(b, 0)", &["a"][..]),
            ("IF(a + FILL(b, 0) > 0, c, 0)", &["a", "c"]),
            ("MAX([DIFF(FILL(a, REPEAT)), DIFF(b)])", &["b"]),
        ] {
            assert_eq!(Expression::parse(text)?.unfilled(), expected, "{text}");
        }
        Ok(())
    }
}
