"""May this transform be used? The panel, what it measures, shows and writes."""
