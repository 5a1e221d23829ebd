"""Results in, pictures and pages out: :mod:`figures` draws one picture a function, :mod:`page` sets a report."""
