"""The site's forms."""

from django import forms

from blog.models import Comment


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ["name", "text"]


class UploadForm(forms.Form):
    file = forms.FileField()
