"""`python -m lexigram_ray`: the command line, wherever PATH is not ours."""

from lexigram_ray.cli.app import main

if __name__ == "__main__":
    main()
