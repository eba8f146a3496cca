"""Music without a model: scores in and out, theory, corpora, statistics. numpy and symusic, no torch."""
