"""One file a family: every public function that takes num_classes is a model."""
