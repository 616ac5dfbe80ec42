"""Paging of all lists."""

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    """``?page=`` and ``?page_size=`` (at most 1,000)."""

    page_size_query_description = "Rows a page: 50 by default, at most 1,000."

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 1000
