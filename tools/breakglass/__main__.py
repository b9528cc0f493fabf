"""`python -m breakglass`."""

from breakglass.cli import main

if __name__ == "__main__":
    main()
