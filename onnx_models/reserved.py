"""Names and numbers that a model table leaves to features."""

#: columns that every model table has
RESERVED = ("prediction", "probability", "features", "$artifact", "$problem")
#: the extension has the same limit: a model table has further columns, and PostgreSQL's limit is 1,600
MAX_FEATURES = 1400
