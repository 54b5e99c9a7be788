"""`python -m docs.generator`: the pages for MkDocs, into build/pages."""

from docs.generator import assemble, repository

if __name__ == "__main__":
    assemble(repository.ROOT / "build" / "pages")
