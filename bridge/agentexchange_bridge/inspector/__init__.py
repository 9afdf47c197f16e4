"""The inspector: a web page that shows the feed, now or at any moment that the logs or a recording still hold."""
