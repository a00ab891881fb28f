"""The templates of a site: a module beside the script `jinja_pages`, as sites have one."""

import jinja2

LAYOUT = """\
<title>{{ title | title }}</title>
<table>
{% for row in rows %}
  <tr class="{{ loop.cycle('odd', 'even') }}">
    <td>{{ row.name | e }}</td><td>{{ "%.2f" | format(row.price) }}</td>
    <td>{% if row.count > 5 %}many{% else %}{{ row.count }}{% endif %}</td>
  </tr>
{% endfor %}
</table>
<p>{{ rows | sum(attribute="count") }} things, {{ rows | map(attribute="name") | join(", ") }}</p>
"""
SITE = jinja2.Environment(loader=jinja2.DictLoader({"page.html": LAYOUT}), autoescape=True)


def render(page):
    """Return the page as HTML."""
    return SITE.get_template("page.html").render(page)
