"""Labels on request, for mail servers and other programs: never late, never in their way."""
