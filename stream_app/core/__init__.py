"""What every other part agrees on. Imports nothing of ours."""
