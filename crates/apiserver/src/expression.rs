//! Expressions in CEL, as far as it is safe to compile and to ask them.
//!
//! Parser and evaluator of the `cel` crate go some calls deeper with each bracket and each operator
//! of a chain such as `1+1+1`, and a thread that is out of stack takes the whole process with it.
//! So an expression is measured before anything reads it, and is compiled and asked on a stack that
//! is deep enough for the largest that is let through. Upstream bounds expressions, too (by their
//! length, their depth and their estimated cost).

use kube_cel::cel::Program;

/// The most characters.
const MOST_CHARACTERS: usize = 5_000;
/// The most characters that can make an expression deeper.
const MOST_STEPS: usize = 500;
/// The stack on which expressions are worked on. Memory is only taken for what is used of it, and
/// that is little: an unoptimized build needs less than a quarter for the largest expressions, an
/// optimized one far less.
const STACK: usize = 128 << 20;

/// Compiles an expression.
///
/// # Errors
/// What is wrong with it, which may be that it is too much.
pub(crate) fn compile(expression: &str) -> Result<Program, String> {
    // Bytes suffice to see that a text is short enough.
    if expression.len() > MOST_CHARACTERS && expression.chars().count() > MOST_CHARACTERS {
        return Err(format!("an expression may have at most {MOST_CHARACTERS} characters"));
    }
    if steps(expression) > MOST_STEPS {
        return Err(format!(
            "an expression may have at most {MOST_STEPS} operators, dots and opening brackets"
        ));
    }
    on_deep_stack(|| Program::compile(expression).map_err(|error| error.to_string()))?
}

/// Works on expressions that [`compile`] has let through, while the caller waits.
///
/// # Errors
/// Where there is no thread for it, or the work panicked.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    on_stack(STACK, work)
}

fn on_stack<T: Send>(size: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("expression".to_owned()).stack_size(size);
        let thread = thread
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread for an expression: {error}"))?;
        thread.join().map_err(|_| "the expression cannot be worked on".to_owned())
    })
}

/// No less than the depth of an expression. What stands in its texts counts, too: to know what is
/// in a text would take all rules of the language.
fn steps(expression: &str) -> usize {
    let symbols = expression.bytes().filter(|byte| b"+-*/%<>=!&|?.([{".contains(byte)).count();
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words = expression.split(|letter: char| !is_part(letter)).filter(|word| *word == "in");
    symbols + words.count()
}

#[cfg(test)]
mod tests {
    use kube_cel::cel::{Context, Value};

    use super::*;

    /// The largest expression of a kind: `start`, then `part` again and again, then as many times
    /// `end`.
    fn largest(start: &str, part: &str, end: &str) -> String {
        let count = (MOST_STEPS - steps(start)) / steps(part);
        let count = count.min((MOST_CHARACTERS - start.len() - 1) / (part.len() + end.len()));
        let last = if start.is_empty() { "1" } else { "" };
        [start, &part.repeat(count), last, &end.repeat(count)].concat()
    }

    /// Compiles and asks on a quarter of the stack; whether it compiles does not matter, it must
    /// come back.
    #[track_caller]
    fn check(start: &str, part: &str, end: &str) {
        let expression = largest(start, part, end);
        let compiled = on_stack(STACK / 4, || Program::compile(&expression).ok());
        if let Ok(Some(program)) = compiled {
            on_stack(STACK / 4, || {
                let mut context = Context::default();
                context.add_variable_from_value("self", Value::Int(1));
                let _ = program.execute(&context);
            })
            .unwrap();
        }
    }

    #[test]
    fn the_largest_expressions_need_less_than_a_quarter_of_the_stack() {
        for part in ["1+", "1-", "1*", "true&&", "false||", "1 in ", "1==", "-", "!", "true?1:"] {
            check("", part, "");
        }
        for (part, end) in [("(", ")"), ("[", "]"), ("{1:", "}"), ("-(", ")"), ("1+(", ")")] {
            check("", part, end);
        }
        for (part, end) in [("size(", ")"), ("[1].all(x,", ")"), ("[1].map(x,", ")"), ("a{b:", "}")]
        {
            check("", part, end);
        }
        for part in [".a", "[0]", ".size()", ".map(x,x)"] {
            check("self", part, "");
        }
    }

    #[test]
    fn what_is_too_large_is_not_looked_at() {
        #[track_caller]
        fn check(expression: &str, expected: &str) {
            let found = compile(expression).err().unwrap_or_default();
            assert!(found.contains(expected), "{found}");
        }
        check(&"1+".repeat(100_000), "at most 5000 characters");
        check(&format!("1{}", "+1".repeat(501)), "at most 500 operators");
        check(&format!("self{}", ".a".repeat(501)), "at most 500 operators");
        check(&format!("1{}", " in 1".repeat(501)), "at most 500 operators");
        check("1 +", "ERROR");
        check(&format!("1{}", "+1".repeat(500)), "");
        check(&format!("'{}' == ''", "a".repeat(4_000)), "");
    }
}
