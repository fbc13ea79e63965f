"""What a destination that takes requests shares: templates, requests that are kept before they are sent, answers."""
